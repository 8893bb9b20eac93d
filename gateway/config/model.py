"""What the config file may say. Every field declares beside its type what a change of it needs.

LIVE: the next use reads the new value. CHANNEL: the accounts under it are restarted. GATEWAY: the gateway is restarted.
The planner, the schema and the reference table come from these declarations; a field without one fails a test.
On a mapping the class is that of adding or removing an entry; what is inside an entry has its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache, cached_property
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta, defstruct, field

from gateway.config.declared import CHANNEL, GATEWAY, LIVE, Model, OneOf
from gateway.config.handlers import HANDLERS, Handler
from gateway.config.lease import LeaseSettings
from gateway.redact import Secret

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]
"""A name that stands in addresses and in the names of machines."""


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Admin(Model, frozen=True, kw_only=True):
    """The control plane: the page, HTTP and WebSocket."""

    host: Annotated[
        str, GATEWAY, Meta(description="The address to listen on. Any other than loopback needs `token` to be set.")
    ] = "127.0.0.1"
    port: Annotated[int, GATEWAY, Meta(ge=0, le=65535, description="The port to listen on; 0 picks a free one.")] = (
        18790
    )
    token: Annotated[
        Secret | None,
        LIVE,
        Meta(
            description="What clients sign in with. Without it one is made and kept in the state folder.",
            examples=["${GATEWAY_TOKEN}"],
        ),
    ] = None
    allowed_origins: Annotated[
        tuple[str, ...],
        LIVE,
        Meta(
            description="Web pages, by origin, that may speak to the gateway beside its own.",
            examples=[["https://chat.example.org"]],
        ),
    ] = ()
    metrics_public: Annotated[bool, LIVE, Meta(description="Serve `/metrics` without a token.")] = False
    writes_per_minute: Annotated[
        int,
        LIVE,
        Meta(ge=0, description="Config writes that a client may send in a minute, for each method; 0 is no limit."),
    ] = 30

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and self.token is None:
            raise ValueError(f"host {self.host} can be reached from outside: set gateway.admin.token, or use 127.0.0.1")


class ReloadSettings(Model, frozen=True, kw_only=True):
    """What a change of the file does."""

    mode: Annotated[
        Literal["hybrid", "off"],
        LIVE,
        Meta(
            description="`hybrid`: a saved edit is applied at once. `off`: a saved edit is noted and changes nothing, "
            "and a change that a client sends waits for a restart."
        ),
    ] = "hybrid"
    debounce_ms: Annotated[
        int, LIVE, Meta(ge=0, le=60_000, description="How long the file must be left alone before it is read again.")
    ] = 300


class RestartSettings(Model, frozen=True, kw_only=True):
    """When and how the gateway restarts."""

    mode: Annotated[
        Literal["auto", "exec", "in_process", "exit"],
        GATEWAY,
        Meta(
            description="How it restarts. `exec`: the process goes on with new code, and its port stays open. `in_process`: "
            "the program stays as it is. `exit`: the process ends with code 75, for a supervisor that starts another. "
            "`auto` is `exec` where the program can be started anew, else `in_process`."
        ),
    ] = "auto"
    delay_ms: Annotated[
        int, LIVE, Meta(ge=0, le=60_000, description="How long a restart waits after it was asked for.")
    ] = 2_000
    cooldown_ms: Annotated[int, GATEWAY, Meta(ge=0, description="The least time between two restarts.")] = 30_000
    defer_timeout_ms: Annotated[
        int, GATEWAY, Meta(ge=0, description="How long a restart waits for work that is under way, at most.")
    ] = 300_000
    drain_timeout_ms: Annotated[
        int,
        GATEWAY,
        Meta(
            ge=100, description="How long the gateway takes to stop, at most; less where its supervisor waits for less."
        ),
    ] = 30_000


class LogSettings(Model, frozen=True, kw_only=True):
    """What is logged, and how."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        LIVE,
        Meta(description="How serious a line must be to be logged; `debug` logs everything."),
    ] = "info"
    format: Annotated[
        Literal["auto", "console", "json"],
        GATEWAY,
        Meta(
            description="`console` is for people, `json` for programs; `auto` is `console` on a terminal, else `json`."
        ),
    ] = "auto"


class GatewaySettings(Model, frozen=True, kw_only=True):
    """The process itself."""

    name: Annotated[
        str, LIVE, Meta(min_length=1, max_length=64, description="What this gateway is called, on its page for one.")
    ] = "gateway"
    admin: Annotated[Admin, GATEWAY, Meta(description="The control plane: the page, HTTP and WebSocket.")] = Admin()
    reload: Annotated[ReloadSettings, LIVE, Meta(description="What a change of the file does.")] = ReloadSettings()
    restart: Annotated[RestartSettings, LIVE, Meta(description="When and how the gateway restarts.")] = (
        RestartSettings()
    )
    log: Annotated[LogSettings, LIVE, Meta(description="What is logged, and how.")] = LogSettings()
    lease: Annotated[
        LeaseSettings,
        GATEWAY,
        Meta(
            description="For accounts that several hosts share, as in a rolling update: one of them receives at a time."
        ),
    ] = LeaseSettings()


class Account(Model, frozen=True, kw_only=True):
    """What every account has, on whatever network."""

    enabled: Annotated[bool, CHANNEL, Meta(description="`false`: the account exists and is stopped.")] = True
    allow_from: Annotated[
        tuple[str | int, ...],
        LIVE,
        Meta(
            description='Whose messages are taken: user ids, @names, or "*" for everybody.', examples=[["@me", 12345]]
        ),
    ] = ("*",)
    admins: Annotated[
        tuple[str | int, ...],
        LIVE,
        Meta(
            description="Who may command the gateway itself in a chat, by `/gateway status` and `/gateway restart`: "
            "user ids or @names.",
            examples=[[12345]],
        ),
    ] = ()
    stop_timeout_ms: Annotated[
        int, LIVE, Meta(ge=10, description="How long its receiver may take to end before it is cut off.")
    ] = 5_000

    @property
    def identity(self) -> str | None:
        """Who it is on its network; None where nobody can be somebody else. Two receivers of one identity end each other."""
        return None

    @property
    def claim(self) -> str | None:
        """At most 15 hexadecimal digits: where it is locked among the processes of this machine; None where any may receive."""
        return None


class TelegramAccount(Account, frozen=True, kw_only=True):
    """One Telegram bot."""

    token: Annotated[
        Secret, CHANNEL, Meta(description="The bot's token, from @BotFather.", examples=["${TELEGRAM_TOKEN}"])
    ]
    api_base: Annotated[
        str, CHANNEL, Meta(title="API base", pattern=r"^https?://", description="The Bot API server to use.")
    ] = "https://api.telegram.org"
    poll_timeout_s: Annotated[
        int, CHANNEL, Meta(ge=1, le=50, description="How long one poll waits for messages, at most.")
    ] = 30
    receive: Annotated[
        Literal["polling", "webhook"],
        CHANNEL,
        Meta(
            description="How messages come: `polling` asks Telegram for them, `webhook` has Telegram bring them to "
            "`webhook_url`. Nothing is lost when it is changed."
        ),
    ] = "polling"
    webhook_url: Annotated[
        str | None,
        CHANNEL,
        Meta(
            title="Webhook URL",
            description="Where Telegram reaches this gateway from outside, by https: what it asks for below "
            "`/telegram/` there must arrive at the gateway's own address. `receive: webhook` needs it.",
            examples=["https://bot.example.org"],
        ),
    ] = None
    delete_webhook: Annotated[
        bool,
        CHANNEL,
        Meta(
            description="Remove or replace a webhook that somebody else has set for the bot. Unless this is on, one is "
            "left as it is, and the bot receives nothing."
        ),
    ] = False

    sends_per_second: Annotated[
        float,
        LIVE,
        Meta(ge=0, description="Messages that the bot may send in a second, over all chats; 0 is no limit."),
    ] = 30.0
    sends_per_second_in_a_chat: Annotated[
        float, LIVE, Meta(ge=0, description="The same in one chat, where a few may follow each other at once.")
    ] = 1.0

    def __post_init__(self) -> None:
        if self.webhook_url is not None:
            _check_webhook_url(self.webhook_url)
        elif self.receive == "webhook":
            raise ValueError(
                "webhook_url",
                "receive: webhook needs it: set the https address under which Telegram reaches this gateway",
            )

    @property
    def identity(self) -> str | None:
        """The bot's number, which a new token of the same bot keeps: what stands before the colon."""
        return self.token.reveal().split(":", 1)[0]

    @property
    def claim(self) -> str | None:
        """Of the token and the server: a test's own server knows other bots by the same tokens."""
        return hashlib.sha256(f"{self.api_base.rstrip('/')} {self.token.reveal()}".encode()).hexdigest()[:15]


def _check_webhook_url(text: str) -> None:
    """Raises ValueError, which never shows what may be a secret in it."""
    try:
        url = urlsplit(text)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise ValueError("webhook_url", "it is no address; write it as https://bot.example.org") from None
    if url.scheme not in ("https", "http") or not host:
        raise ValueError("webhook_url", "it is no address; write it as https://bot.example.org")
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError(
            "webhook_url", "Telegram comes by https only; write it as https://..., or use this machine's own"
        )
    if url.username is not None or url.query or url.fragment:
        raise ValueError("webhook_url", "it may have a path, and no user, query or fragment: take those away")


class WebchatAccount(Account, frozen=True, kw_only=True):
    """One web chat, on the page."""


class Route(Model, frozen=True, kw_only=True):
    """Which handler gets a message. The first route that matches wins."""

    channel: Annotated[
        str, LIVE, Meta(description='The network whose messages it takes; "*" is any.', examples=["telegram"])
    ] = "*"
    account: Annotated[
        str, LIVE, Meta(description='The account whose messages it takes; "*" is any.', examples=["main"])
    ] = "*"
    conversation: Annotated[
        str | None, LIVE, Meta(description="The one conversation (chat) whose messages it takes; without it, any.")
    ] = None
    senders: Annotated[
        tuple[str | int, ...],
        LIVE,
        Meta(
            description="Whose messages it takes: user ids, @names; without it, anybody's.", examples=[["@me", 12345]]
        ),
    ] = ()
    kinds: Annotated[
        tuple[Literal["text", "media", "edit", "callback", "other"], ...],
        LIVE,
        Meta(description="What it takes: text, media, edit, callback or other; without it, texts and media."),
    ] = ("text", "media")
    match: Annotated[
        str | None,
        LIVE,
        Meta(
            description="A regular expression that is searched for in the text. Without one every text matches.",
            examples=["^/help"],
        ),
    ] = None
    handler: Annotated[
        str, LIVE, Meta(description="The handler that gets the message, by its name in `handlers`.", examples=["echo"])
    ]

    after_unknown: Annotated[
        Literal["resend", "ask"],
        LIVE,
        Meta(
            description="What follows when nobody knows whether a reply was sent, since the process or the line died: "
            "`resend` sends it once more, marked; `ask` leaves it to a person."
        ),
    ] = "resend"
    max_age_s: Annotated[
        int, LIVE, Meta(ge=1, description="A reply that could not be sent for so many seconds is not sent any more.")
    ] = 86_400

    def __post_init__(self) -> None:
        try:
            re.compile(self.match or "")
        except re.error as error:
            raise ValueError(f"match is not a regular expression: {error}") from error


class StoreSettings(Model, frozen=True, kw_only=True):
    """How messages are kept."""

    durability: Annotated[
        Literal["full", "normal"],
        LIVE,
        Meta(description="`full` outlives a power cut, `normal` outlives the end of the process and is faster."),
    ] = "full"
    keep_days: Annotated[
        int, LIVE, Meta(ge=1, description="How long finished messages and the journal are kept, in days.")
    ] = 30
    keep_messages: Annotated[
        int,
        LIVE,
        Meta(ge=0, description="How many finished messages are kept at the most, those in and those out each."),
    ] = 1_000_000


ANSWERS = Meta(description="What answers messages, each by a name of your choice.")
ACCOUNTS = Meta(description="The accounts, each by a name of your choice.")


class Section(Model, frozen=True, kw_only=True):
    """One network's accounts; each network's own section narrows them to its own model."""

    accounts: Annotated[Mapping[Name, Account], CHANNEL, ACCOUNTS] = field(default_factory=dict)


class Channels(Model, frozen=True, kw_only=True):
    """The networks that are used: one section each, added by `build_config_model`."""

    def sections(self) -> dict[str, Section]:
        return {name: getattr(self, name) for name in self.__struct_fields__}


CHANNELS = Meta(description="The networks that are used, and the accounts on each.")


class Config(Model, frozen=True, kw_only=True, dict=True):
    """The whole file."""

    gateway: Annotated[GatewaySettings, LIVE, Meta(description="The process itself.")] = GatewaySettings()
    store: Annotated[StoreSettings, LIVE, Meta(description="How messages are kept.")] = StoreSettings()
    channels: Annotated[Channels, CHANNEL, CHANNELS] = Channels()
    handlers: Annotated[Mapping[Name, Annotated[Handler, OneOf(HANDLERS)]], LIVE, ANSWERS] = field(default_factory=dict)
    routes: Annotated[
        tuple[Route, ...],
        LIVE,
        Meta(description="Which handler gets a message: that of the first route that matches."),
    ] = ()

    def __post_init__(self) -> None:
        for number, route in enumerate(self.routes):
            if route.handler not in self.handlers:
                known = ", ".join(self.handlers) or "none is defined"
                raise ValueError(f"routes.{number}.handler", f"no handler named {route.handler!r} ({known})")
        for name, handler in self.handlers.items():
            for key, account in handler.accounts:
                if account not in self.accounts():
                    known = f"there are {', '.join(self.accounts())}" if self.accounts() else "there is none at all"
                    raise ValueError(f"handlers.{name}.{key}", f"there is no account {account}; {known}")
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

    def accounts(self) -> Mapping[str, Account]:
        """Every account by the name of its machine: `telegram/main`."""
        return self._accounts

    @cached_property
    def _accounts(self) -> Mapping[str, Account]:
        """Made once: whatever looks at each of a thousand accounts asks for it a thousand times."""
        return {
            f"{channel}/{name}": account
            for channel, section in self.channels.sections().items()
            for name, account in section.accounts.items()
        }


def build_config_model(
    accounts: Mapping[str, type[Account]], handlers: Mapping[str, type[Handler]] = HANDLERS
) -> type[Config]:
    """The config's model for the networks whose account models are given, and for these types of handlers."""
    sections = []
    for channel, account in accounts.items():
        section = _section(channel, account)
        said = Meta(description=f"The accounts on {channel}.")
        sections.append((channel, Annotated[section, CHANNEL, said], section()))
    channels = _derive("channels", Channels, sections)
    answers = Annotated[Mapping[Name, Annotated[Handler, OneOf(handlers)]], LIVE, ANSWERS]
    fields = [
        ("channels", Annotated[channels, CHANNEL, CHANNELS], channels()),
        ("handlers", answers, field(default_factory=dict)),
    ]
    config: type[Config] = _derive("config", Config, fields)
    return config


@cache
def _section(channel: str, account: type[Account]) -> Any:
    """One for each, so that the same settings are equal in a model that knows more networks."""
    kind = Annotated[Mapping[Name, account], CHANNEL, ACCOUNTS]  # type: ignore[valid-type]
    return _derive(f"{channel}_section", Section, [("accounts", kind, field(default_factory=dict))])


def _derive(name: str, base: type[Model], fields: list[tuple[str, Any, Any]]) -> Any:
    return defstruct(name, fields, bases=(base,), module=__name__, frozen=True, kw_only=True)
