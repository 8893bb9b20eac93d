"""A schedule as data: what happens, when, with every parameter fixed. It comes from its seed alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.network import KINDS
from tests.simulation.process import ILLS
from tests.simulation.trials import Part, Trials

NAMES = ("one", "two", "three")
BOTS = {"one": "1001", "two": "1002", "three": "1003"}
ADMIN_TOKEN = "the-admin-token"
PAUSES = (0.0, 0.0, 0.0, 0.01, 0.05, 0.3, 0.5, 0.5, 1.0, 1.0, 2.0, 2.0, 2.5, 5.0, 7.0, 31.0, 50.0)
"""Seconds between two actions: many of them the product's own times, so that things meet at one instant."""
BURST = (0.0, 0.01, 0.05, 0.1, 0.3)
"""Seconds between the writes of somebody who is in a hurry."""
BROKEN = (
    "channels: [",
    "",
    "gateway: {nme: x}\n",
    "routes: [{handler: nobody}]\n",
    "a: 1001:secret-twice\na: 1001:secret-twice\n",
    "\x00",
)
METHODS = ("", "getMe", "getUpdates", "getUpdates", "getUpdates", "sendMessage", "deleteWebhook")
SENDING = ("refuse", "reset", "lose", "hang", "swallow", "500", "429", "400", "half", "deaf")
"""What may happen to a message on its way to the network."""
STALE = "0" * 64
FOR_EVER = 200.0
FOUND_WITHIN = 80.0
"""Seconds in which the watchdog of the most patient account has looked."""


@dataclass(frozen=True)
class Action:
    """One thing that is done to a gateway or to its outside, `at` seconds after the beginning."""

    at: float
    kind: str
    args: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = ", ".join(f"{name}={_short(value)}" for name, value in self.args.items())
        return f"{self.at:8.3f} s  {self.kind}{f' ({told})' if told else ''}"


def _short(value: Any) -> str:
    text = str(value)
    if "\n" not in text:
        return text
    head, wish = text.splitlines()[0], [line.strip() for line in text.splitlines()[2:]]
    return f"{head.lstrip('# ')}: {' | '.join(wish)}"


class Wish:
    """A config that somebody wishes for, and the ways in which the next one differs. `texts` are all wishes so far."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.texts: list[str] = []
        self.accounts: dict[str, dict[str, Any]] = {name: self._account(name) for name in NAMES[:2]}
        self.gateway: dict[str, Any] = {"name": "home"}
        self.restart: dict[str, Any] = {
            "cooldown_ms": random.choice((0, 0, 5_000)), "drain_timeout_ms": random.choice((4_000, 8_000, 30_000)),
        }  # fmt: skip
        self.durability = "full"
        self.mode = "hybrid"
        self.policy = "resend"
        self.bot_with_new_token = ""
        """The bot to which the newest wish gives another token."""
        self._number = 0

    def _account(self, name: str) -> dict[str, Any]:
        settings = {"token": f"{BOTS[name]}:secret-{name}", "api_base": "https://api.example"}
        return settings | {"poll_timeout_s": self._random.choice((1, 3, 10, 30))}

    def change(self) -> str:
        """The next wish, as the text of a file."""
        self._number += 1
        self.bot_with_new_token = ""
        ways = (
            self._channel, self._channel, self._live, self._presence, self._switch, self._gateway, self._gateway,
            self._comment, self._patience, self._mode,
        )  # fmt: skip
        self._random.choice(ways)()
        while self._random.random() < 0.2:
            self._random.choice(ways)()
        self.texts.append(self.text)
        return self.text

    def _some(self) -> dict[str, Any]:
        return self.accounts[self._random.choice(list(self.accounts))]

    def _channel(self) -> None:
        some = self._some()
        if self._random.random() < 0.5:
            self.bot_with_new_token = some["token"].split(":")[0]
            some["token"] = f"{some['token'].split('-')[0]}-again-{self._number}"
        else:
            some["poll_timeout_s"] = self._random.choice((1, 2, 5, 20))
        some["delete_webhook"] = self._random.random() < 0.5

    def _live(self) -> None:
        self.gateway["name"] = f"home-{self._random.randrange(3)}"
        self.policy = self._random.choice(("resend", "resend", "ask"))
        self._some()["allow_from"] = ["*", self._random.randrange(3)]

    def _presence(self) -> None:
        name = self._random.choice(NAMES)
        if name not in self.accounts:
            self.accounts[name] = self._account(name)
        elif len(self.accounts) > 1:
            del self.accounts[name]

    def _switch(self) -> None:
        some = self._some()
        some["enabled"] = not some.get("enabled", True)

    def _gateway(self) -> None:
        self.durability = "normal" if self.durability == "full" else "full"
        if self._random.random() < 0.3:
            self.restart["cooldown_ms"] = self._random.choice((0, 5_000, 30_000))

    def _patience(self) -> None:
        self._some()["stop_timeout_ms"] = self._random.choice((500, 2_000, 5_000))

    def _mode(self) -> None:
        self.mode = "off" if self.mode == "hybrid" and self._random.random() < 0.3 else "hybrid"

    def _comment(self) -> None:
        """Nothing but the comment at its top, which every wish has."""

    @property
    def text(self) -> str:
        accounts = "".join(f"      {name}: {_flow(settings)}\n" for name, settings in self.accounts.items())
        return (
            f"# wish {self._number}\n"
            f"handlers: {{echo: {{type: echo}}}}\n"
            f"gateway: {_flow({**self.gateway, 'restart': self.restart, 'reload': {'mode': self.mode}})}\n"
            f"store: {{durability: {self.durability}}}\n"
            f"routes: [{{handler: echo, after_unknown: {self.policy}}}]\n"
            f"channels:\n  telegram:\n    accounts:\n{accounts}"
        )


def _flow(value: Any) -> str:
    """YAML in one line; `mode: off` would be a word of YAML 1.1, so texts are quoted."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


@dataclass(frozen=True)
class Schedule:
    """`first` is the config that the gateway boots with; `last` a valid one for when the file is unusable in the end."""

    seed: int
    first: str
    last: str
    actions: tuple[Action, ...]


def make_schedule(seed: int) -> Schedule:
    random = Random(seed)
    wish = Wish(random)
    first = wish.text
    makers = _Makers(random, wish)
    actions: list[Action] = []
    at = 0.0
    kind = ""
    for _ in range(random.randint(6, 30)):
        burst = kind in ("write", "edit") and random.random() < 0.3
        at = makers.after(at, actions) + random.choice(BURST if burst else PAUSES)
        kind = "write" if burst else random.choices(makers.kinds, makers.weights)[0]
        action = Action(round(at, 3), kind, makers.make(kind))
        actions.append(action)
        actions += makers.make_more(action)
    return Schedule(seed, first, wish.text, tuple(sorted(actions, key=lambda action: action.at)))


class _Makers:
    """For each kind of action: how often, and with which parameters."""

    def __init__(self, random: Random, wish: Wish) -> None:
        self._random = random
        self._wish = wish
        some, chance, bot = random.choice, random.random, self._bot
        self._all: dict[str, tuple[float, Callable[[], dict[str, Any]]]] = {
            "write": (6, lambda: {"text": wish.change(), "delay": some((None, 0.0, 1.0, 2.0))}),
            "stale write": (1, lambda: {"text": wish.change(), "base": some((STALE, "first", None))}),
            "patch": (0.3, lambda: {"patch": {"gateway": {"name": f"patched-{random.randrange(9)}"}}}),
            "edit": (4, lambda: {"text": wish.change(), "how": some(("replace", "replace", "overwrite", "halves")),
                                 "events": some(((0.0,), (0.0,), (0.0, 0.0), (), (0.3, 0.0), (0.0, 0.29, 0.31), (1.9,)))}),
            "spoil": (1.5, lambda: {"text": some((*BROKEN, None)), "events": some(((0.0,), (), (0.3,))),
                                    "mend": some((None, 0.05, 0.2, 1.0, 20.0)), "wish": wish.change()}),
            "hint": (0.7, dict),
            "SIGHUP": (1, dict),
            "SIGUSR1": (1, dict),
            "SIGTERM": (0.8, lambda: {"again": some((None, None, 0.1, 1.0)), "boot": some((0.1, 1.0, 5.0))}),
            "restart": (3, lambda: {"delay": some((0.0, 0.5, 1.0, 2.0, 30.0)), "force": chance() < 0.2}),
            "cancel": (1.5, lambda: {"pick": some((0, -1))}),
            "channel": (3, lambda: {"account": some(NAMES), "verb": some(("start", "stop", "restart"))}),
            "say": (3, lambda: {"bot": bot(), "text": "hello", "chat": some((7, 7, 8)), "count": some((1, 1, 1, 2, 5))}),
            "handler": (0.7, lambda: {"ills": tuple(some(ILLS) for _ in range(some((1, 1, 2, 3))))}),
            "reply": (0.5, lambda: {"verb": some(("retry", "discard")), "pick": some((0, -1))}),
            "fault": (5, self._fault),
            "drop": (1, lambda: {"bot": bot()}),
            "stranger": (1, lambda: {"bot": bot(), "seconds": some((0.5, 5.0, 40.0))}),
            "revoke": (0.4, lambda: {"bot": bot(), "seconds": some((0.5, 5.0, 40.0))}),
            "webhook": (0.3, lambda: {"bot": bot(), "seconds": some((1.0, 20.0))}),
            "quirk": (2, lambda: {"bot": bot(), "close_takes": some((0.0, 0.1, 1.0, 4.9, 5.0, 8.0, 40.0)),
                                  "fence_fails": some((0, 0, 1, 2, 4)), "fence_hangs": some((0, 0, 0, 1))}),
            "slow disk": (0.7, lambda: {"seconds": some((0.5, 5.0, 20.0)), "slowest": chance() < 0.2}),
            "locked store": (0.3, lambda: {"seconds": some((0.5, 5.0, 40.0))}),
            "full disk": (0.5, lambda: {"seconds": some((0.5, 5.0, 20.0))}),
            "port taken": (0.4, lambda: {"seconds": some((1.0, 10.0))}),
            "neighbour": (0.7, lambda: {"account": some(NAMES), "seconds": some((0.5, 1.5, 5.0))}),
            "no program": (0.4, lambda: {"seconds": some((1.0, 10.0, 60.0))}),
            "stall": (0.8, lambda: {"seconds": some((0.3, 2.0, 5.0, 12.0, 90.0, 600.0))}),
            "wall clock": (0.3, lambda: {"seconds": some((-3600.0, -1.0, 60.0, 86400.0))}),
            "crash": (1.5, lambda: {"when": some(("now", "decision", "write", "before", "after", "answer")), "n": random.randint(1, 12),
                                  "cut": some((0.001, 0.005, 0.02)), "boot": some((0.05, 0.5, 3.0))}),
        }  # fmt: skip
        wish.texts.append(wish.text)
        self._trials = Trials(random, wish.change, wish.texts, list(BOTS.values()))
        self._all |= self._trials.kinds()
        self.kinds = list(self._all)
        self.weights = [weight for weight, _ in self._all.values()]

    def make(self, kind: str) -> dict[str, Any]:
        return self._all[kind][1]()

    def after(self, at: float, actions: list[Action]) -> float:
        """What comes next may come when all before it has happened, or while a change is on trial."""
        last = max((action.at for action in actions), default=0.0)
        on_trial = any(action.kind == "trial" for action in actions)
        return at if on_trial and self._random.random() < 0.5 else max(at, last)

    def make_more(self, action: Action) -> list[Action]:
        """What belongs to an action, so that it matters."""
        if action.args.get("kind") == "hold" and self._random.random() < 0.8:
            # An answer that is sat on matters most when there is something in it, and the receiver is told to end.
            return self.make_held(action)
        if action.kind == "trial":
            parts = self._trials.beside(action.args["confirm"])
            return [Action(round(action.at + after, 3), kind, args) for after, kind, args in parts]
        if action.kind == "say" and self._random.random() < 0.5:
            return [self.make_hardship(action)]
        if action.kind == "write" and self._wish.bot_with_new_token and self._random.random() < 0.3:
            return self.make_given_back(action.at, self._wish.bot_with_new_token)
        return []

    def make_given_back(self, written: float, bot: str) -> list[Action]:
        """The token from before a write again, and under each of the two a message: the second is one that nobody could confirm."""
        later = written + self._random.choice((1.0, 3.0, 6.0))
        fault = {"kind": "refuse", "bot": bot, "method": "getUpdates", "seconds": 0.5}
        parts: list[Part] = [
            (written, "say", {"bot": bot, "text": "to the older token"}),
            (later, "fault", fault | {"count": self._random.choice((1, 2, 5))}),
            (later, "say", {"bot": bot, "text": "to the newer token"}),
            (later + self._random.choice((0.1, 0.5)), "edit back", {"text": self._wish.texts[-2]}),
        ]
        return [Action(round(at, 3), kind, args) for at, kind, args in parts]

    def make_hardship(self, said: Action) -> Action:
        """What a message meets on its way: a crash at one of its commits or beside its answer, a store that takes nothing, or a
        network that will not send."""
        some = self._random.choice
        if self._random.random() < 0.1:
            return Action(round(said.at + some((0.0, 0.01, 0.05)), 3), "locked store", {"seconds": some((5.0, 70.0))})
        if self._random.random() < 0.5:
            when, n = some(("before", "before", "after", "after", "answer")), self._random.randint(1, 6)
            return Action(
                said.at, "crash", {"when": when, "n": n, "cut": some((0.001, 0.02)), "boot": some((0.05, 3.0))}
            )
        fault = {"kind": some(SENDING), "bot": said.args["bot"], "method": "sendMessage", "count": some((1, 1, 2, 5))}
        return Action(said.at, "fault", fault | {"seconds": some((0.5, 5.0, 35.0))})

    def make_held(self, fault: Action) -> list[Action]:
        """A message that ends the poll under way, one for the answer that is held, and an end for the receiver that holds it."""
        bot = fault.args["bot"]
        name = next(name for name, its_bot in BOTS.items() if its_bot == bot)
        later, verb = fault.at + 0.3, self._random.choice(("stop", "restart", "restart"))
        says = [
            Action(fault.at, "say", {"bot": bot, "text": "first"}),
            Action(round(later, 3), "say", {"bot": bot, "text": "held"}),
        ]
        if fault.args["seconds"] == FOR_EVER:
            # Nobody tells it to end: it must be found.
            return [*says, Action(round(later + FOUND_WITHIN, 3), "hint")]
        return [*says, Action(round(later + 0.2, 3), "channel", {"account": name, "verb": verb})]

    def _bot(self) -> str:
        return self._random.choice(list(BOTS.values()))

    def _fault(self) -> dict[str, Any]:
        some = self._random.choice
        kind = some(KINDS)
        made = {
            "kind": kind,
            "bot": self._bot(),
            "method": some(METHODS),
            "count": some((1, 1, 2, 5, 12)),
        }
        seconds = some((0.5, 2.0, 4.9, 5.0, 5.1, 8.0, 35.0))
        # What is held for that long is held for ever, as far as anybody waits: the poll hangs, and nobody says so.
        return made | {"seconds": FOR_EVER if (kind, seconds) == ("hold", 35.0) else seconds}
