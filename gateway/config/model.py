"""What the config file may say. Every field declares beside its type what a change of it needs.

LIVE: the next use reads the new value. CHANNEL: the accounts under it are restarted. GATEWAY: the gateway is restarted.
The planner, the schema and the reference table come from these declarations; a field without one fails a test.
On a mapping the class is that of adding or removing an entry; what is inside an entry has its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, defstruct, field

from gateway.redact import Secret
from statemachine.lifecycle_events import Impact

LIVE, CHANNEL, GATEWAY = Impact.LIVE, Impact.CHANNEL, Impact.GATEWAY


Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]
"""A name that stands in addresses and in the names of machines."""


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frozen, and strict about names: an unknown key is an error, never ignored."""


class Admin(Model, frozen=True, kw_only=True):
    """The control plane: the page, HTTP and WebSocket."""

    host: Annotated[str, GATEWAY, Meta(description="address to listen on; other than loopback needs a token")] = (
        "127.0.0.1"
    )
    port: Annotated[int, GATEWAY, Meta(ge=0, le=65535, description="0 picks a free one")] = 18790
    token: Annotated[Secret | None, LIVE, Meta(description="absent: generated into the state folder")] = None
    allowed_origins: Annotated[tuple[str, ...], LIVE, Meta(description="origins beside the listener's own")] = ()
    metrics_public: Annotated[bool, LIVE, Meta(description="serve /metrics without a token")] = False
    writes_per_minute: Annotated[
        int, LIVE, Meta(ge=0, description="config writes per client and method; 0 is no limit")
    ] = 30

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and self.token is None:
            raise ValueError(f"host {self.host} can be reached from outside: set gateway.admin.token, or use 127.0.0.1")


class ReloadSettings(Model, frozen=True, kw_only=True):
    """What a change of the file does."""

    mode: Annotated[
        Literal["hybrid", "off"], LIVE, Meta(description="off: an edit is noted, a call asks for a restart")
    ] = "hybrid"
    debounce_ms: Annotated[int, LIVE, Meta(ge=0, le=60_000, description="quiet time after the last file event")] = 300


class RestartSettings(Model, frozen=True, kw_only=True):
    """When and how the gateway restarts."""

    mode: Annotated[Literal["auto", "in_process"], GATEWAY, Meta(description="auto picks the best that is there")] = (
        "auto"
    )
    delay_ms: Annotated[int, LIVE, Meta(ge=0, le=60_000, description="wait before a restart that was asked for")] = (
        2_000
    )
    cooldown_ms: Annotated[int, GATEWAY, Meta(ge=0, description="least time between two restarts")] = 30_000
    defer_timeout_ms: Annotated[int, GATEWAY, Meta(ge=0, description="longest wait for idle work")] = 300_000
    drain_timeout_ms: Annotated[int, GATEWAY, Meta(ge=100, description="longest stop")] = 30_000


class LogSettings(Model, frozen=True, kw_only=True):
    """What is logged, and how."""

    level: Annotated[Literal["debug", "info", "warning", "error"], LIVE] = "info"
    format: Annotated[Literal["auto", "console", "json"], GATEWAY, Meta(description="auto: console on a terminal")] = (
        "auto"
    )


class GatewaySettings(Model, frozen=True, kw_only=True):
    """The process itself."""

    name: Annotated[str, LIVE, Meta(min_length=1, max_length=64)] = "gateway"
    admin: Annotated[Admin, GATEWAY] = Admin()
    reload: Annotated[ReloadSettings, LIVE] = ReloadSettings()
    restart: Annotated[RestartSettings, LIVE] = RestartSettings()
    log: Annotated[LogSettings, LIVE] = LogSettings()


class Account(Model, frozen=True, kw_only=True):
    """What every account has, on whatever network."""

    enabled: Annotated[bool, CHANNEL, Meta(description="false: it exists and is stopped")] = True
    allow_from: Annotated[tuple[str | int, ...], LIVE, Meta(description='user ids, @names or "*"')] = ("*",)
    stop_timeout_ms: Annotated[
        int, LIVE, Meta(ge=10, description="longest wait for a receiver to end before it is cut off")
    ] = 5_000

    @property
    def identity(self) -> str | None:
        """Who it is on its network; None where nobody can be somebody else. Two receivers of one identity end each other."""
        return None


class TelegramAccount(Account, frozen=True, kw_only=True):
    """One Telegram bot."""

    token: Annotated[Secret, CHANNEL, Meta(description="the bot's token, from @BotFather")]
    api_base: Annotated[str, CHANNEL, Meta(pattern=r"^https?://", description="Bot API server")] = (
        "https://api.telegram.org"
    )
    poll_timeout_s: Annotated[int, CHANNEL, Meta(ge=1, le=50, description="how long one long poll lasts")] = 30
    delete_webhook: Annotated[
        bool, CHANNEL, Meta(description="remove a webhook that is set; without it one is an error")
    ] = False

    @property
    def identity(self) -> str | None:
        """The bot's number, which a new token of the same bot keeps: what stands before the colon."""
        return self.token.reveal().split(":", 1)[0]


class WebchatAccount(Account, frozen=True, kw_only=True):
    """One web chat, on the page."""


class EchoHandler(Model, frozen=True, kw_only=True):
    """Answers the text it was sent."""

    type: Annotated[Literal["echo"], LIVE]


class Route(Model, frozen=True, kw_only=True):
    """Which handler gets a message. The first route that matches wins."""

    channel: Annotated[str, LIVE] = "*"
    account: Annotated[str, LIVE] = "*"
    match: Annotated[str | None, LIVE, Meta(description="a regular expression, searched in the text")] = None
    handler: Annotated[str, LIVE]

    def __post_init__(self) -> None:
        try:
            re.compile(self.match or "")
        except re.error as error:
            raise ValueError(f"match is not a regular expression: {error}") from error


class StoreSettings(Model, frozen=True, kw_only=True):
    """How messages are kept."""

    durability: Annotated[Literal["full", "normal"], GATEWAY] = "full"
    keep_days: Annotated[int, LIVE, Meta(ge=1)] = 30


class Section(Model, frozen=True, kw_only=True):
    """One network's accounts; each network's own section narrows them to its own model."""

    accounts: Annotated[Mapping[Name, Account], CHANNEL] = field(default_factory=dict)


class Channels(Model, frozen=True, kw_only=True):
    """The networks that are used: one section each, added by `build_config_model`."""

    def sections(self) -> dict[str, Section]:
        return {name: getattr(self, name) for name in self.__struct_fields__}


class Config(Model, frozen=True, kw_only=True):
    """The whole file."""

    gateway: Annotated[GatewaySettings, LIVE] = GatewaySettings()
    store: Annotated[StoreSettings, LIVE] = StoreSettings()
    channels: Annotated[Channels, CHANNEL] = Channels()
    handlers: Annotated[Mapping[Name, EchoHandler], LIVE] = field(default_factory=dict)
    routes: Annotated[tuple[Route, ...], LIVE] = ()

    def __post_init__(self) -> None:
        for number, route in enumerate(self.routes):
            if route.handler not in self.handlers:
                known = ", ".join(self.handlers) or "none is defined"
                raise ValueError(f"routes.{number}.handler", f"no handler named {route.handler!r} ({known})")
        self._refuse_twins()

    def _refuse_twins(self) -> None:
        owners: dict[str, str] = {}
        for name, account in self.accounts().items():
            identity = self.identity_of(name, account)
            if identity is None or not account.enabled:
                continue
            if identity in owners:
                place = "channels.{}.accounts.{}".format(*name.split("/", 1))
                message = f"it is the same bot as {owners[identity]}, and two receivers of one bot end each other; disable one"
                raise ValueError(place, message)
            owners[identity] = name

    @staticmethod
    def identity_of(name: str, account: Account | None) -> str | None:
        """An account's identity with its network's name before it."""
        identity = account.identity if account is not None else None
        return None if identity is None else f"{name.split('/', 1)[0]}:{identity}"

    def owners(self) -> dict[str, str]:
        """Which enabled account is which bot, by identity."""
        found = {self.identity_of(name, account): name for name, account in self.accounts().items() if account.enabled}
        return {identity: name for identity, name in found.items() if identity is not None}

    def accounts(self) -> dict[str, Account]:
        """Every account by the name of its machine: `telegram/main`."""
        return {
            f"{channel}/{name}": account
            for channel, section in self.channels.sections().items()
            for name, account in section.accounts.items()
        }


def build_config_model(accounts: Mapping[str, type[Account]]) -> type[Config]:
    """The config's model for the networks whose account models are given."""
    sections = []
    for channel, account in accounts.items():
        kind = Annotated[Mapping[Name, account], CHANNEL]  # type: ignore[valid-type]
        section = _derive(f"{channel}_section", Section, [("accounts", kind, field(default_factory=dict))])
        sections.append((channel, Annotated[section, CHANNEL], section()))
    channels = _derive("channels", Channels, sections)
    config: type[Config] = _derive("config", Config, [("channels", Annotated[channels, CHANNEL], channels())])
    return config


def _derive(name: str, base: type[Model], fields: list[tuple[str, Any, Any]]) -> Any:
    return defstruct(name, fields, bases=(base,), module=__name__, frozen=True, kw_only=True)
