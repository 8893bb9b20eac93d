"""Which handler gets a message: the first route that matches, if the sender is allowed at all."""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.config.model import Config, Route
from gateway.messages.model import Message
from statemachine.incoming import Verdict

COMMAND = "/gateway"
TO_THE_GATEWAY = Route(handler=COMMAND)
"""The route of a command by one of the account's `admins`: before all others, and in no config."""


def route_of(config: Config, message: Message) -> tuple[Verdict, Route | None, str]:
    """What is to become of a message: the verdict, the route that takes it, and why where none does."""
    account = config.accounts().get(message.name)
    if account is None:
        return Verdict.REFUSED, None, "the account is gone"
    if not is_allowed(account.allow_from, message):
        return Verdict.REFUSED, None, "the sender is not in allow_from"
    if message.text.split(maxsplit=1)[:1] == [COMMAND] and is_allowed(account.admins, message):
        return Verdict.MATCHED, TO_THE_GATEWAY, ""
    route = matching_route(config, message)
    if route is None:
        return Verdict.UNMATCHED, None, "no route matches"
    return Verdict.MATCHED, route, ""


def is_allowed(allowed: tuple[str | int, ...], message: Message) -> bool:
    """Whether a list names the sender: by id, by @name, or by "*"."""
    return "*" in allowed or not _texts(allowed).isdisjoint({message.sender_id, f"@{message.sender_name}"})


def matching_route(config: Config, message: Message) -> Route | None:
    """The first route that matches."""
    return next((route for route in config.routes if _matches(route, message)), None)


def _matches(route: Route, message: Message) -> bool:
    return (
        route.channel in ("*", message.channel)
        and route.account in ("*", message.account)
        and (route.conversation is None or route.conversation == message.conversation)
        and (not route.senders or is_allowed(route.senders, message))
        and (not route.kinds or message.kind in route.kinds)
        and (route.match is None or _compiled(route.match).search(message.text) is not None)
    )


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@lru_cache(maxsize=1024)
def _texts(allowed: tuple[str | int, ...]) -> frozenset[str]:
    return frozenset(map(str, allowed))
