-- Incoming messages. The number is the order in which they were taken over; what is `received` is not finished.
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    conversation TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'received',
    why TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    received_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE INDEX inbox_open ON inbox (number) WHERE state = 'received';
CREATE INDEX inbox_ended ON inbox (ended_at) WHERE ended_at IS NOT NULL;

CREATE INDEX inbox_conversation ON inbox (account, conversation, number);

-- Outgoing messages. What is neither `sent` nor `dead` is not finished.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    conversation TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    why TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    marked INTEGER NOT NULL DEFAULT 0,
    network_id TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_open ON outbox (number) WHERE state NOT IN ('sent', 'dead');
CREATE INDEX outbox_ended ON outbox (changed_at) WHERE state IN ('sent', 'dead');
CREATE INDEX outbox_conversation ON outbox (account, conversation, number);

-- How far each bot was received, by who it is on its network: names of accounts change, bots do not.
CREATE TABLE offsets (
    identity TEXT PRIMARY KEY,
    next INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every step and refusal. The body is the entry with its event, as JSON.
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    machine TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX journal_machine ON journal (machine, seq);

-- Every accepted request and what became of it.
CREATE TABLE requests (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_at ON requests (at);

-- Accounts that a person has stopped.
CREATE TABLE intents (
    account TEXT PRIMARY KEY,
    intent TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Conversations that are told when the request they made is carried out.
CREATE TABLE notices (
    request TEXT PRIMARY KEY,
    body BLOB NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
