"""What applying a config would do, account by account."""

from __future__ import annotations

import pytest

from gateway.config.plan import AccountAction, Plan, graft, make_plan
from statemachine.lifecycle_events import Impact
from tests.gateway.configs import HEAD, config, telegram

A = AccountAction
ONE = "token: one-token"
THREE = "token: three-token"
TWO = "token: two-token"


def plan(old: str, new: str) -> Plan:
    return make_plan(config(old), config(new))


def actions(old: str, new: str) -> dict[str, AccountAction]:
    return dict(plan(old, new).accounts)


def test_nothing_differs() -> None:
    text = telegram(main=ONE)
    found = plan(text, text.replace("{", "{ ") + "# in other words\n")
    assert (found.changes, found.impact, found.paths) == ((), Impact.NONE, [])
    assert found.describe() == {"class": "none", "accounts": {}}
    assert found.accounts == {"telegram/main": A.NOTHING}


@pytest.mark.parametrize(
    ("old", "new", "action", "impact"),
    [
        (ONE, TWO, A.RESTART, Impact.CHANNEL),
        (ONE, f"{ONE}, poll_timeout_s: 7", A.RESTART, Impact.CHANNEL),
        (ONE, f"{ONE}, api_base: 'http://127.0.0.1:1'", A.RESTART, Impact.CHANNEL),
        (ONE, f"{ONE}, allow_from: ['@me']", A.LIVE, Impact.LIVE),
        (ONE, f"{ONE}, stop_timeout_ms: 70", A.LIVE, Impact.LIVE),
        (ONE, f"{TWO}, allow_from: ['@me']", A.RESTART, Impact.CHANNEL),
        (ONE, f"{ONE}, enabled: false", A.STOP, Impact.CHANNEL),
        (ONE, f"{TWO}, enabled: false", A.STOP, Impact.CHANNEL),
        (f"{ONE}, enabled: false", ONE, A.START, Impact.CHANNEL),
        (f"{ONE}, enabled: false", TWO, A.START, Impact.CHANNEL),
        (f"{ONE}, enabled: false", f"{TWO}, enabled: false", A.NOTHING, Impact.CHANNEL),
        (ONE, f"{ONE}, enabled: true", A.NOTHING, Impact.NONE),
        (ONE, f"{ONE}, poll_timeout_s: 30", A.NOTHING, Impact.NONE),
    ],
)
def test_what_happens_to_one_account_and_nothing_to_its_sibling(
    old: str, new: str, action: AccountAction, impact: Impact
) -> None:
    """case_62: an edit of one account restarts one account."""
    sibling = "token: another-token"
    found = plan(telegram(main=old, sibling=sibling), telegram(main=new, sibling=sibling))
    assert found.accounts == {"telegram/main": action, "telegram/sibling": A.NOTHING}
    assert found.impact is impact


def test_accounts_that_come_and_go() -> None:
    assert actions(telegram(main=ONE), telegram(main=ONE, new=TWO)) == {
        "telegram/main": A.NOTHING,
        "telegram/new": A.START,
    }
    assert actions(telegram(main=ONE, old=TWO), telegram(main=ONE)) == {
        "telegram/main": A.NOTHING,
        "telegram/old": A.STOP,
    }
    assert actions(telegram(main=ONE), telegram(renamed=ONE)) == {"telegram/main": A.STOP, "telegram/renamed": A.START}
    off = f"{ONE}, enabled: false"
    assert actions(telegram(main=ONE), telegram(main=ONE, new=off))["telegram/new"] is A.NOTHING
    assert actions(telegram(main=ONE, old=off), telegram(main=ONE))["telegram/old"] is A.NOTHING
    assert actions(HEAD, telegram(main=ONE)) == {"telegram/main": A.START}
    assert actions(telegram(main=ONE), HEAD) == {"telegram/main": A.STOP}


def test_one_name_on_two_networks_is_two_accounts() -> None:
    both = telegram(main=ONE) + "  webchat: {accounts: {main: {}}}\n"
    assert actions(both, both.replace("one-token", "two-token")) == {
        "telegram/main": A.RESTART,
        "webchat/main": A.NOTHING,
    }


@pytest.mark.parametrize(
    ("line", "impact"),
    [
        ("gateway: {name: another, admin: {port: 0, token: the-admin-token}}", Impact.LIVE),
        ("gateway: {admin: {port: 1, token: the-admin-token}}", Impact.GATEWAY),
        ("gateway: {admin: {port: 0, token: another-admin-token}}", Impact.LIVE),
        ("gateway: {admin: {port: 0, token: the-admin-token}, restart: {delay_ms: 1}}", Impact.LIVE),
        ("gateway: {admin: {port: 0, token: the-admin-token}, restart: {cooldown_ms: 1}}", Impact.GATEWAY),
        ("gateway: {admin: {port: 0, token: the-admin-token}, log: {level: debug}}", Impact.LIVE),
        ("gateway: {admin: {port: 0, token: the-admin-token}, log: {format: json}}", Impact.GATEWAY),
    ],
)
def test_the_class_of_a_change_is_that_of_its_own_field(line: str, impact: Impact) -> None:
    old = telegram(main=ONE)
    new = old.replace("gateway:\n  admin: {port: 0, token: the-admin-token}", line)
    found = plan(old, new)
    assert found.impact is impact
    assert len(found.paths) == 1
    assert found.accounts == {"telegram/main": A.NOTHING}


def test_routes_and_handlers_are_live() -> None:
    other = HEAD.replace("echo: {type: echo}", "echo: {type: echo}\n  second: {type: echo}")
    found = plan(HEAD, other.replace("handler: echo", "handler: second"))
    assert (found.impact, found.paths) == (Impact.LIVE, ["handlers.second", "routes"])


def test_a_mixed_change_weighs_as_much_as_its_heaviest_part_and_names_them_all() -> None:
    old = telegram(main=ONE, other=TWO)
    new = telegram(main="token: new-token", other=f"{TWO}, allow_from: [1]").replace("port: 0", "port: 1")
    found = plan(old, new)
    assert found.impact is Impact.GATEWAY
    assert found.paths == [
        "gateway.admin.port",
        "channels.telegram.accounts.main.token",
        "channels.telegram.accounts.other.allow_from",
    ]
    assert found.describe() == {"class": "gateway", "accounts": {"telegram/main": "restart", "telegram/other": "live"}}


def test_a_plan_shows_no_values() -> None:
    found = plan(telegram(main=ONE), telegram(main=TWO))
    assert "two-token" not in repr(found)
    assert "one-token" not in repr(found)


def test_a_name_with_a_dot_is_one_step_of_a_path() -> None:
    found = plan(telegram(**{"a.b": ONE, "a": THREE}), telegram(**{"a.b": TWO, "a": THREE}))
    assert found.changes[0].path == ("channels", "telegram", "accounts", "a.b", "token")
    assert found.accounts == {"telegram/a.b": A.RESTART, "telegram/a": A.NOTHING}


# Grafting one change on another config


def grafted(base: str, source: str, *paths: tuple[str, ...]) -> object:
    return graft(config(base), config(source), paths)


def test_a_graft_takes_what_is_at_the_path_and_no_more() -> None:
    base = telegram(main=ONE, other=TWO)
    source = telegram(main="token: new-token, poll_timeout_s: 9", other="token: other-new").replace(
        "port: 0", "port: 1"
    )
    path = ("channels", "telegram", "accounts", "main", "token")
    assert grafted(base, source, path) == config(telegram(main="token: new-token", other=TWO))
    # What it was taken from and what it was put on are as they were.
    assert config(base).accounts().keys() == {"telegram/main", "telegram/other"}


def test_a_graft_adds_and_removes_entries() -> None:
    base, source = telegram(main=ONE, old=TWO), telegram(main=ONE, new=THREE)
    accounts = ("channels", "telegram", "accounts")
    assert grafted(base, source, (*accounts, "new")) == config(telegram(main=ONE, old=TWO, new=THREE))
    assert grafted(base, source, (*accounts, "old")) == config(telegram(main=ONE))
    assert grafted(base, source, (*accounts, "old"), (*accounts, "new")) == config(source)
    assert grafted(base, source, (*accounts, "never")) == config(base)


@pytest.mark.parametrize(
    ("base", "source"),
    [
        (telegram(main=ONE), telegram(main=TWO, new=ONE)),
        (telegram(main=ONE, old=TWO), telegram(main=f"{ONE}, enabled: false").replace("port: 0", "port: 9")),
        (HEAD, telegram(main=ONE)),
        (telegram(main=ONE), HEAD.replace("echo:", "second:").replace("handler: echo", "handler: second")),
    ],
)
def test_grafting_every_change_of_a_plan_gives_the_other_config(base: str, source: str) -> None:
    assert grafted(base, source, *[change.path for change in plan(base, source).changes]) == config(source)


def test_a_graft_that_breaks_a_rule_between_fields_is_none() -> None:
    other = HEAD.replace("echo:", "second:").replace("handler: echo", "handler: second")
    with pytest.raises(ValueError, match="no handler named 'second'"):
        grafted(HEAD, other, ("routes",))
