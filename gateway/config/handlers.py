"""What `handlers:` in the config file may say: one model for each type. Every field is LIVE: a changed handler is made anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Annotated, Literal

from msgspec import Meta

from gateway.config.declared import LIVE, Model
from gateway.redact import Secret

PLACEHOLDERS = ("sender", "text", "channel", "account", "conversation")
"""What stands between the braces of a bridge's format."""


class Handler(Model, frozen=True, kw_only=True):
    """What every handler has."""

    type: Annotated[str, LIVE, Meta(description="What the handler does.")]

    @property
    def accounts(self) -> Iterator[tuple[str, str]]:
        """Accounts that there must be, each with the key that names it."""
        return iter(())


class EchoHandler(Handler, frozen=True, kw_only=True):
    """Answers the text it was sent."""

    type: Annotated[Literal["echo"], LIVE, Meta(description="`echo` answers with the text it was sent.")]


class WorkingHandler(Handler, frozen=True, kw_only=True):
    """What has work to do, which takes time and may fail."""

    timeout_ms: Annotated[
        int, LIVE, Meta(ge=1, le=3_600_000, description="How long one message may take; after that it has failed.")
    ] = 10_000
    concurrency: Annotated[
        int, LIVE, Meta(ge=1, le=1_000, description="How many messages it works on at the same time, at the most.")
    ] = 16
    retries: Annotated[
        int,
        LIVE,
        Meta(
            ge=0,
            le=100,
            description="How often a message is given to it again that failed for now (no answer, no answer in time, or it "
            "says so), with growing pauses. While it answers nobody, that is not counted.",
        ),
    ] = 5


class HttpHandler(WorkingHandler, frozen=True, kw_only=True):
    """Sends each message to a web hook."""

    type: Annotated[
        Literal["http"], LIVE, Meta(description="`http` posts the message as JSON, and answers what it is answered.")
    ]
    url: Annotated[
        str,
        LIVE,
        Meta(
            title="URL", pattern=r"^https?://", description="Where messages are posted. A redirect is not followed.",
            examples=["http://127.0.0.1:9000/hook"],
        ),
    ]  # fmt: skip
    secret: Annotated[
        Secret | None,
        LIVE,
        Meta(
            description="Messages are signed with it: `X-Gateway-Signature: t=<unix time>,v1=<HMAC-SHA256 of t.body>`.",
            examples=["${HOOK_SECRET}"],
        ),
    ] = None


class OpenaiHandler(WorkingHandler, frozen=True, kw_only=True):
    """Asks a language model behind a server of OpenAI's protocol."""

    type: Annotated[
        Literal["openai"], LIVE, Meta(description="`openai` asks a model, by the chat completions of that protocol.")
    ]
    base_url: Annotated[
        str,
        LIVE,
        Meta(
            title="Base URL", pattern=r"^https?://", description="The server, up to what comes before `/chat/completions`.",
            examples=["http://127.0.0.1:11434/v1"],
        ),
    ] = "https://api.openai.com/v1"  # fmt: skip
    api_key: Annotated[
        Secret | None,
        LIVE,
        Meta(title="API key", description="What the server wants to see.", examples=["${OPENAI_API_KEY}"]),
    ] = None
    model: Annotated[str, LIVE, Meta(min_length=1, description="The model that is asked, by the server's name for it.")]
    system: Annotated[str, LIVE, Meta(description="What the model is told before each conversation.")] = ""
    history: Annotated[
        int, LIVE, Meta(ge=0, le=1_000, description="How many earlier messages of a conversation the model is shown.")
    ] = 20
    history_tokens: Annotated[
        int,
        LIVE,
        Meta(ge=0, description="How many tokens they may have together, at the most; four characters count as one."),
    ] = 4_000
    max_tokens: Annotated[
        int, LIVE, Meta(ge=0, description="How many tokens an answer may have; with 0 the server decides.")
    ] = 0
    stream: Annotated[
        bool, LIVE, Meta(description="Receive the answer as it is written: one that hangs is noticed sooner.")
    ] = True
    timeout_ms: Annotated[
        int, LIVE, Meta(ge=1, le=3_600_000, description="How long one answer may take; after that it has failed.")
    ] = 120_000
    concurrency: Annotated[
        int,
        LIVE,
        Meta(ge=1, le=1_000, description="How many conversations are answered at the same time, at the most."),
    ] = 8


class PythonHandler(WorkingHandler, frozen=True, kw_only=True):
    """Calls a function."""

    type: Annotated[Literal["python"], LIVE, Meta(description="`python` calls a function with the message.")]
    target: Annotated[
        str,
        LIVE,
        Meta(
            pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
            description="`module:function`; modules beside the config file are found. The function is given a "
            "`gateway.Message` and returns a text, a `gateway.Reply`, a list of these, or None; one that is not async runs in "
            "a thread. The module is read anew with each config that is applied.",
            examples=["my_bot:answer"],
        ),
    ]
    timeout_ms: Annotated[
        int, LIVE, Meta(ge=1, le=3_600_000, description="How long one call may take; after that it has failed.")
    ] = 30_000


class CommandHandler(WorkingHandler, frozen=True, kw_only=True):
    """Runs a program."""

    type: Annotated[
        Literal["command"],
        LIVE,
        Meta(description="`command` runs a program: the message on its input, the answer on its output."),
    ]
    argv: Annotated[
        tuple[str, ...],
        LIVE,
        Meta(
            min_length=1,
            description="The program and its arguments, run in the config's folder; no shell is between. It may write text, "
            "or the JSON that a web hook answers. It ends with 0; with 75 it asks to be run again later.",
            examples=[["./answer.sh"]],
        ),
    ]
    max_output: Annotated[
        int, LIVE, Meta(ge=1, le=16_777_216, description="How many bytes it may write, at the most.")
    ] = 65_536
    concurrency: Annotated[
        int, LIVE, Meta(ge=1, le=1_000, description="How many of it run at the same time, at the most.")
    ] = 4


class BridgeTarget(Model, frozen=True, kw_only=True):
    """A conversation on another account."""

    channel: Annotated[str, LIVE, Meta(description="The network.", examples=["telegram"])]
    account: Annotated[str, LIVE, Meta(description="The account on it.", examples=["main"])]
    conversation: Annotated[str | int, LIVE, Meta(description="The conversation (chat) there.", examples=[-100123456])]

    @property
    def name(self) -> str:
        """The account's name: `telegram/main`."""
        return f"{self.channel}/{self.account}"


class BridgeHandler(Handler, frozen=True, kw_only=True):
    """Sends messages on to another conversation."""

    type: Annotated[Literal["bridge"], LIVE, Meta(description="`bridge` sends the message on to another conversation.")]
    to: Annotated[BridgeTarget, LIVE, Meta(description="Where it is sent.")]
    format: Annotated[
        str,
        LIVE,
        Meta(
            description="What is said there; `{sender}`, `{text}`, `{channel}`, `{account}` and `{conversation}` stand for the message's."
        ),
    ] = "{sender}: {text}"

    @property
    def accounts(self) -> Iterator[tuple[str, str]]:
        yield "to", self.to.name

    def __post_init__(self) -> None:
        try:
            parts = list(Formatter().parse(self.format))
        except ValueError as error:
            raise ValueError("format", f"it is no format of a bridge: {error}") from error
        names = [name for _, name, _, _ in parts if name is not None]
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        for _, name, width, conversion in parts:
            if name is not None and (name not in PLACEHOLDERS or width or conversion):
                raise ValueError("format", f"it can have {known} and nothing else between braces")
        if "text" not in names:
            raise ValueError("format", "it says nothing of the message: it needs {text}")


HANDLERS: Mapping[str, type[Handler]] = {
    "echo": EchoHandler,
    "http": HttpHandler,
    "openai": OpenaiHandler,
    "python": PythonHandler,
    "command": CommandHandler,
    "bridge": BridgeHandler,
}
"""The models of the types that are built in."""
