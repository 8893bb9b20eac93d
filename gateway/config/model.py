"""What the config file may say. Every field declares beside its type what a change of it needs.

LIVE: the next use reads the new value. CHANNEL: the accounts under it are restarted. GATEWAY: the gateway is restarted.
The planner, the schema and the reference table come from these declarations; a field without one fails a test.
On a mapping the class is that of adding or removing an entry; what is inside an entry has its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    create_model,
    model_validator,
)

from statemachine.lifecycle_events import Impact

LIVE, CHANNEL, GATEWAY = Impact.LIVE, Impact.CHANNEL, Impact.GATEWAY


def _read_secret(value: Any, info: ValidationInfo) -> Any:
    """`{file: path}` stands for the contents of that file, relative to the config's folder."""
    if not isinstance(value, dict):
        return value
    if set(value) != {"file"}:
        raise ValueError("a secret is a text, ${NAME}, or {file: path}")
    folder = (info.context or {}).get("folder", Path())
    try:
        return (folder / str(value["file"])).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the secret's file cannot be read: {error}") from error


def _compile(pattern: str | None) -> str | None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Secret = Annotated[SecretStr, BeforeValidator(_read_secret)]
Pattern = Annotated[str | None, AfterValidator(_compile)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
"""A name that stands in addresses and in the names of machines."""


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Model(BaseModel):
    """Frozen, and strict about names: an unknown key is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Admin(Model):
    """The control plane: the page, HTTP and WebSocket."""

    host: Annotated[str, GATEWAY] = Field(
        "127.0.0.1", description="address to listen on; other than loopback needs a token"
    )
    port: Annotated[int, GATEWAY] = Field(18790, ge=0, le=65535, description="0 picks a free one")
    token: Annotated[Secret | None, LIVE] = Field(None, description="absent: generated into the state folder")
    allowed_origins: Annotated[tuple[str, ...], LIVE] = Field((), description="origins beside the listener's own")
    metrics_public: Annotated[bool, LIVE] = Field(False, description="serve /metrics without a token")
    writes_per_minute: Annotated[int, LIVE] = Field(
        30, ge=0, description="config writes per client and method; 0 is no limit"
    )

    @model_validator(mode="after")
    def _is_not_exposed(self) -> Self:
        if not is_loopback(self.host) and self.token is None:
            raise ValueError(f"host {self.host} can be reached from outside: set gateway.admin.token, or use 127.0.0.1")
        return self


class ReloadSettings(Model):
    """What a change of the file does."""

    mode: Annotated[Literal["hybrid", "off"], LIVE] = Field(
        "hybrid", description="off: an edit is noted, a call asks for a restart"
    )
    debounce_ms: Annotated[int, LIVE] = Field(300, ge=0, le=60_000, description="quiet time after the last file event")


class RestartSettings(Model):
    """When and how the gateway restarts."""

    mode: Annotated[Literal["auto", "in_process"], GATEWAY] = Field(
        "auto", description="auto picks the best that is there"
    )
    delay_ms: Annotated[int, LIVE] = Field(
        2_000, ge=0, le=60_000, description="wait before a restart that was asked for"
    )
    cooldown_ms: Annotated[int, GATEWAY] = Field(30_000, ge=0, description="least time between two restarts")
    defer_timeout_ms: Annotated[int, GATEWAY] = Field(300_000, ge=0, description="longest wait for idle work")
    drain_timeout_ms: Annotated[int, GATEWAY] = Field(30_000, ge=100, description="longest stop")


class LogSettings(Model):
    """What is logged, and how."""

    level: Annotated[Literal["debug", "info", "warning", "error"], LIVE] = "info"
    format: Annotated[Literal["auto", "console", "json"], GATEWAY] = Field(
        "auto", description="auto: console on a terminal"
    )


class GatewaySettings(Model):
    """The process itself."""

    name: Annotated[str, LIVE] = Field("gateway", min_length=1, max_length=64)
    admin: Annotated[Admin, GATEWAY] = Admin()
    reload: Annotated[ReloadSettings, LIVE] = ReloadSettings()
    restart: Annotated[RestartSettings, LIVE] = RestartSettings()
    log: Annotated[LogSettings, LIVE] = LogSettings()


class Account(Model):
    """What every account has, on whatever network."""

    enabled: Annotated[bool, CHANNEL] = Field(True, description="false: it exists and is stopped")
    allow_from: Annotated[tuple[str | int, ...], LIVE] = Field(("*",), description='user ids, @names or "*"')
    stop_timeout_ms: Annotated[int, LIVE] = Field(
        5_000, ge=10, description="longest wait for a receiver to end before it is cut off"
    )


class TelegramAccount(Account):
    """One Telegram bot."""

    token: Annotated[Secret, CHANNEL] = Field(description="the bot's token, from @BotFather")
    api_base: Annotated[str, CHANNEL] = Field(
        "https://api.telegram.org", pattern=r"^https?://", description="Bot API server"
    )
    poll_timeout_s: Annotated[int, CHANNEL] = Field(30, ge=1, le=50, description="how long one long poll lasts")
    delete_webhook: Annotated[bool, CHANNEL] = Field(
        False, description="remove a webhook that is set; without it one is an error"
    )


class WebchatAccount(Account):
    """One web chat, on the page."""


class EchoHandler(Model):
    """Answers the text it was sent."""

    type: Annotated[Literal["echo"], LIVE]


class Route(Model):
    """Which handler gets a message. The first route that matches wins."""

    channel: Annotated[str, LIVE] = "*"
    account: Annotated[str, LIVE] = "*"
    match: Annotated[Pattern, LIVE] = Field(None, description="a regular expression, searched in the text")
    handler: Annotated[str, LIVE]


class StoreSettings(Model):
    """How messages are kept."""

    durability: Annotated[Literal["full", "normal"], GATEWAY] = "full"
    keep_days: Annotated[int, LIVE] = Field(30, ge=1)


class Section(Model):
    """One network's accounts; each network's own section narrows them to its own model."""

    accounts: Annotated[Mapping[Name, Account], CHANNEL] = Field(default_factory=dict)


class Channels(Model):
    """The networks that are used: one section each, added by `build_config_model`."""

    def sections(self) -> dict[str, Section]:
        return {name: section for name, section in self if isinstance(section, Section)}


class Config(Model):
    """The whole file."""

    gateway: Annotated[GatewaySettings, LIVE] = GatewaySettings()
    store: Annotated[StoreSettings, LIVE] = StoreSettings()
    channels: Annotated[Channels, CHANNEL] = Channels()
    handlers: Annotated[dict[Name, EchoHandler], LIVE] = Field(default_factory=dict)
    routes: Annotated[tuple[Route, ...], LIVE] = ()

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> Self:
        for number, route in enumerate(self.routes):
            if route.handler not in self.handlers:
                known = ", ".join(self.handlers) or "none is defined"
                raise ValueError(f"routes.{number}: no handler named {route.handler!r} ({known})")
        return self

    def accounts(self) -> dict[str, Account]:
        """Every account by the name of its machine: `telegram/main`."""
        return {
            f"{channel}/{name}": account
            for channel, section in self.channels.sections().items()
            for name, account in section.accounts.items()
        }


def build_config_model(accounts: Mapping[str, type[Account]]) -> type[Config]:
    """The config's model for the networks whose account models are given."""
    fields: dict[str, Any] = {}
    for channel, account in accounts.items():
        kinds = Annotated[Mapping[Name, account], CHANNEL]  # type: ignore[valid-type]
        section = create_model(f"{channel}_section", __base__=Section, accounts=(kinds, Field(default_factory=dict)))
        fields[channel] = (Annotated[section, CHANNEL], section())
    channels = create_model("channels", __base__=Channels, **fields)
    narrowed: dict[str, Any] = {"channels": (Annotated[channels, CHANNEL], channels())}
    return create_model("config", __base__=Config, **narrowed)
