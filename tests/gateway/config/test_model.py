"""What the config may say: every field declares its reload class, and nothing can be changed once it is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import msgspec
import pytest

from gateway.config import handlers
from gateway.config import model as declared
from gateway.config.declared import Model, OneOf
from gateway.config.model import Account, Config, TelegramAccount, build_config_model, is_loopback
from gateway.config.plan import reload_class
from gateway.config.validate import fields_of
from gateway.redact import Secret
from statemachine.lifecycle_events import Impact
from tests.gateway.configs import MODEL, config, faults, telegram


def models(kind: Any = MODEL) -> Iterator[type[Model]]:
    """A model and all that is nested in it."""
    if isinstance(kind, type) and issubclass(kind, Model):
        yield kind
        for field in fields_of(kind).values():
            yield from models(field.type)
    for argument in (*get_args(kind), *getattr(kind, "__metadata__", ())):
        if isinstance(argument, OneOf):
            for model in argument.models.values():
                yield from models(model)
        yield from models(argument)


def subclasses(kind: type[Model]) -> Iterator[type[Model]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


ALL = sorted({*models(), *subclasses(Model)}, key=lambda kind: (kind.__name__, id(kind)))


def test_the_walk_finds_them_all() -> None:
    names = {kind.__name__ for kind in models()}
    assert {"config", "GatewaySettings", "Admin", "TelegramAccount", "WebchatAccount", "EchoHandler", "Route"} <= names
    for module in (declared, handlers):
        assert {getattr(module, name) for name in dir(module) if _is_model(getattr(module, name))} <= {Model, *ALL}


def _is_model(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, Model)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_field_has_exactly_one_reload_class(kind: type[Model]) -> None:
    for field in fields_of(kind).values():
        marks = [mark for mark in getattr(field.type, "__metadata__", ()) if isinstance(mark, Impact)]
        assert len(marks) == 1, f"{kind.__name__}.{field.name}"
        assert marks[0] is not Impact.NONE
        assert reload_class(field) is marks[0]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_field_says_what_it_means(kind: type[Model]) -> None:
    """In one or more sentences for the operator: they are the reference, and the help of a form."""
    for field in fields_of(kind).values():
        marks = [mark for mark in getattr(field.type, "__metadata__", ()) if isinstance(mark, msgspec.Meta)]
        said = [mark.description for mark in marks if mark.description]
        assert len(said) == 1, f"{kind.__name__}.{field.name}"
        assert re.fullmatch(r"[A-Z`].*\.", said[0]), f"{kind.__name__}.{field.name}: {said[0]}"


def test_a_field_without_a_class_is_told_of() -> None:
    class Careless(Model, frozen=True, kw_only=True):
        colour: str = "red"
        shape: Annotated[str, "round"] = "round"

    for field in fields_of(Careless).values():
        with pytest.raises(TypeError, match="declares no reload class"):
            reload_class(field)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_model_is_frozen(kind: type[Model]) -> None:
    assert kind.__struct_config__.frozen


def test_a_config_cannot_be_changed() -> None:
    found = config(telegram(main="token: a-token"))
    with pytest.raises(AttributeError):
        found.gateway.name = "another"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        found.accounts()["telegram/main"].enabled = False  # type: ignore[misc]


def test_an_account_can_be_compared_and_hashed_for_the_machines() -> None:
    text = telegram(main="token: a-token, allow_from: [1, '@me']")
    one, two = (config(text).accounts()["telegram/main"] for _ in range(2))
    other = config(telegram(main="token: b-token, allow_from: [1, '@me']")).accounts()["telegram/main"]
    assert one == two
    assert hash(one) == hash(two)
    assert one != other


def test_the_smallest_config() -> None:
    found = config("{}\n")
    assert (found.gateway.admin.host, found.gateway.admin.port) == ("127.0.0.1", 18790)
    assert (found.gateway.reload.mode, found.gateway.reload.debounce_ms) == ("hybrid", 300)
    assert found.gateway.restart.delay_ms == 2_000
    assert found.gateway.restart.cooldown_ms == 30_000
    assert found.accounts() == {}


def test_accounts_by_the_names_of_their_machines() -> None:
    text = (
        telegram(main="token: a-token", spare="token: b-token, enabled: false")
        + "  webchat: {accounts: {default: {}}}\n"
    )
    accounts = config(text).accounts()
    assert list(accounts) == ["telegram/main", "telegram/spare", "webchat/default"]
    main = accounts["telegram/main"]
    assert isinstance(main, TelegramAccount)
    assert main.token == Secret("a-token")
    assert (main.enabled, main.allow_from, main.stop_timeout_ms) == (True, ("*",), 5_000)
    assert not accounts["telegram/spare"].enabled


def test_a_network_that_is_not_built_in_is_no_key() -> None:
    (fault,) = faults("channels: {irc: {accounts: {}}}\n")
    assert fault.path == "channels.irc"
    with_it = build_config_model({"irc": Account})
    assert list(fields_of(get_args(fields_of(with_it)["channels"].type)[0])) == ["irc"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    assert config(f"gateway: {{admin: {{host: '{host}'}}}}\n").gateway.admin.token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", "localhost.example.org"])
def test_a_listener_that_can_be_reached_from_outside_needs_a_token_of_the_users_own(host: str) -> None:
    assert not is_loopback(host)
    (fault,) = faults(f"gateway: {{admin: {{host: '{host}'}}}}\n")
    assert (fault.path, fault.line, fault.column) == ("gateway.admin", 1, 11)
    assert "set gateway.admin.token" in fault.message
    assert config(f"gateway: {{admin: {{host: '{host}', token: my-own-token}}}}\n").gateway.admin.host == host


def test_a_config_is_one_of_its_model() -> None:
    assert isinstance(config("{}"), Config)
    assert isinstance(config("{}"), MODEL)
    assert get_origin(fields_of(MODEL)["routes"].type) is Annotated
    assert issubclass(MODEL, msgspec.Struct)


@pytest.mark.parametrize("other", ["token: '1001:old'", "token: '1001:new', enabled: true"])
def test_two_accounts_of_one_bot_are_refused(other: str) -> None:
    """Its number stands before the colon, and a new token keeps it: two receivers of one bot end each other."""
    (issue,) = faults(telegram(main="token: '1001:old'", other=other))
    assert issue.path == "channels.telegram.accounts.other"
    assert "the same bot as telegram/main" in issue.message
    assert "1001" not in issue.message
    assert config(telegram(main="token: '1001:old'", other=f"{other.removesuffix(', enabled: true')}, enabled: false"))


def test_receiving_by_webhook_needs_the_address_where_it_comes_in() -> None:
    (fault,) = faults(telegram(main="token: a-token, receive: webhook"))
    assert fault.path == "channels.telegram.accounts.main.webhook_url"
    assert "https address" in fault.message
    settings = config(telegram(main="token: a-token, receive: webhook, webhook_url: 'https://bot.example.org/below'"))
    assert getattr(settings.accounts()["telegram/main"], "receive", "") == "webhook"


@pytest.mark.parametrize("local", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080/"])
def test_on_this_machine_a_webhook_needs_no_https(local: str) -> None:
    assert config(telegram(main=f"token: a-token, webhook_url: '{local}'"))


@pytest.mark.parametrize(
    "wrong",
    [
        "http://bot.example.org", "ftp://bot.example.org", "bot.example.org", "https://", "https://[bot", "",
        "https://bot.example.org:port", "https://bot.example.org/?q=a-secret-part", "https://bot.example.org/#a-secret-part",
        "https://me:a-secret-part@bot.example.org",
    ],
)  # fmt: skip
def test_an_address_that_telegram_would_not_come_to_is_refused_and_not_repeated(wrong: str) -> None:
    (fault,) = faults(telegram(main=f"token: a-token, webhook_url: '{wrong}'"))
    assert fault.path == "channels.telegram.accounts.main.webhook_url"
    assert "a-secret-part" not in fault.message


# Leases


def lease(settings: str) -> str:
    return telegram(main="token: a-token").replace("gateway:\n", f"gateway:\n  lease: {{{settings}}}\n", 1)


@pytest.mark.parametrize("url", ["nats://10.0.0.5:4222", "tls://a.example.org", "nats://one:4222,nats://two:4222"])
def test_hosts_that_share_accounts_agree_at_one_server_or_at_several(url: str) -> None:
    assert config(lease(f"url: '{url}'")).gateway.lease.url == url
    assert config(lease("ttl_ms: 20000")).gateway.lease.url is None


@pytest.mark.parametrize(
    ("settings", "field", "said"),
    [
        ("url: '10.0.0.5:4222'", "url", "nats://"),
        ("url: 'nats://'", "url", "nats://"),
        ("url: 'nats://one:4222,https://two'", "url", "nats://"),
        ("url: 'nats://somebody:a-secret@one:4222'", "url", "gateway.lease.token"),
        ("url: 'nats://one', credentials: nats.creds", "credentials", "whole path"),
        ("url: 'nats://one', ttl_ms: 9999", "ttl_ms", "10000"),
        ("url: 'nats://one', bucket: 'a.b'", "bucket", ""),
    ],
)
def test_what_hosts_cannot_agree_by_is_refused_with_the_remedy(settings: str, field: str, said: str) -> None:
    (fault,) = faults(lease(settings))
    assert fault.path == f"gateway.lease.{field}"
    assert said in fault.message
    assert "a-secret" not in str(fault)


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.config.lease.find_spec", lambda _: None)
    (fault,) = faults(lease("url: 'nats://one'"))
    assert (fault.path, "pip install 'chat-gateway[fleet]'" in fault.message) == ("gateway.lease.url", True)
    assert config(lease("ttl_ms: 20000"))
