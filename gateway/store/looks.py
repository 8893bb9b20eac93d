"""What is asked of the messages for people to look at. Each question costs as much as its answer, however many are kept."""

from __future__ import annotations

from typing import Final


def _ends(table: str) -> str:
    """The number of the last message of each conversation: from one conversation to the next, not through all of their messages."""
    return f"""
    {table}_ends(number) AS (
        SELECT * FROM (SELECT number FROM {table} ORDER BY account DESC, conversation DESC, number DESC LIMIT 1)
        UNION ALL
        SELECT coalesce(
            (SELECT number FROM {table} AS other WHERE other.account = {table}.account
                AND other.conversation < {table}.conversation ORDER BY conversation DESC, number DESC LIMIT 1),
            (SELECT number FROM {table} AS other WHERE other.account < {table}.account
                ORDER BY account DESC, conversation DESC, number DESC LIMIT 1)
        ) FROM {table}_ends JOIN {table} USING (number)
    )"""  # noqa: S608 - a name of ours


CONVERSATIONS: Final = f"""
    WITH RECURSIVE {_ends("inbox")}, {_ends("outbox")}, ends AS (
        SELECT account, conversation, number AS message, NULL AS delivery FROM inbox_ends JOIN inbox USING (number)
        UNION ALL
        SELECT account, conversation, NULL, number FROM outbox_ends JOIN outbox USING (number)
    ), latest AS (
        SELECT account, conversation, max(message) AS message, max(delivery) AS delivery FROM ends
        WHERE account = coalesce(?1, account) GROUP BY account, conversation
    )
    SELECT latest.account, latest.conversation, received_at, inbox.body AS received, inbox.state AS received_state,
        outbox.created_at AS said_at, outbox.body AS said, outbox.state AS said_state
    FROM latest LEFT JOIN inbox ON inbox.number = message LEFT JOIN outbox ON outbox.number = delivery
    ORDER BY max(coalesce(received_at, 0), coalesce(said_at, 0)) DESC, 1, 2 LIMIT ?2
"""  # noqa: S608 - names of ours
"""Of all accounts, or of the one that is given (?1): those with the latest words, that many (?2), and what was said last in each."""

RECEIVED, APART = "state = 'received'", "state NOT IN ('received', 'handled')"
OPEN, DEAD = "state NOT IN ('sent', 'dead')", "state = 'dead'"
INBOX_PART: Final = {"received": RECEIVED, "unmatched": APART, "refused": APART, "dead": APART}
OUTBOX_PART: Final = {"dead": DEAD}
"""By a state: the part of the table that has an index of its own. Of the others there are so many that some are near."""

COUNTS: Final = f"""
    SELECT 'inbox' AS counted, 'handled' AS state, count(*) AS n FROM inbox
    UNION ALL SELECT 'inbox', 'received', count(*) FROM inbox WHERE {RECEIVED}
    UNION ALL SELECT 'inbox', state, count(*) FROM inbox WHERE {APART} GROUP BY state
    UNION ALL SELECT 'outbox', 'sent', count(*) FROM outbox
    UNION ALL SELECT 'outbox', 'dead', count(*) FROM outbox WHERE {DEAD}
    UNION ALL SELECT 'outbox', state, count(*) FROM outbox WHERE {OPEN} GROUP BY state
"""  # noqa: S608 - names of ours
"""By table and state. The first of each table counts all: what is left when the others are taken off is handled, or sent."""
