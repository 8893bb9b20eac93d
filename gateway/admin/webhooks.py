"""The door for what Telegram brings by itself: no token of the gateway, but the secret that Telegram was given for it.

Whoever does not know the secret of an account does not learn here whether there is such an account: a wrong secret has the
same answer as no account at all. Behind a proxy all the world has one address. So wrong secrets are counted apart
from wrong tokens, and never keep out who knows the right one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

from gateway.admin.auth import Attempts
from gateway.admin.errors import BadRequestError
from gateway.admin.routes import JSON, TELEGRAM, Route
from gateway.admin.services import Services
from gateway.admin.sessions import same
from gateway.channels.telegram_answers import DEFAULT_PORTS
from gateway.channels.telegram_updates import is_id
from gateway.channels.telegram_webhook import AGAIN_AFTER, hook_secret
from gateway.config.model import Config, TelegramAccount
from gateway.errors import UnavailableError

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - it is the name of a header


class Webhooks:
    """One for all servers that follow each other, so that an in-process restart forgets no wrong secret."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._attempts = Attempts(services.clock)
        self._nobodys = secrets.token_hex(32)
        """Compared with where there is no such account."""
        self._hosts: tuple[Config | None, Collection[str]] = (None, ())

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST", TELEGRAM + "{account}", self.take, {200: "Taken"},
                takes="update", errors=(BadRequestError, UnavailableError),
            )
        ]  # fmt: skip

    def hosts(self) -> Collection[str]:
        """What Telegram, or the proxy that it comes through, may say in Host: the names in the accounts' `webhook_url`."""
        config, hosts = self._hosts
        if config is not self._services.ledger.applied:
            config = self._services.ledger.applied
            urls = (each.webhook_url for each in config.accounts().values() if isinstance(each, TelegramAccount))
            hosts = frozenset(host for url in urls if url is not None for host in _hosts_of(url))
            self._hosts = (config, hosts)
        return hosts

    def check(self, request: web.Request) -> None:
        """Raises UnauthorizedError or TooManyAttemptsError unless it comes with the account's secret."""
        account, address = request.path.removeprefix(TELEGRAM), request.remote or ""
        settings = self._services.ledger.applied.accounts().get(f"telegram/{account}")
        known = isinstance(settings, TelegramAccount)
        secret = (
            hook_secret(f"telegram/{account}", settings) if isinstance(settings, TelegramAccount) else self._nobodys
        )
        given = request.headers.get(SECRET_HEADER)
        if given is not None and same(given, secret) and known:
            return
        self._attempts.refuse_too_many(address)
        self._attempts.refuse(given, address)

    async def take(self, request: web.Request) -> web.Response:
        """An update that Telegram brings; 200 when it is in the store. With any other answer it is brought again."""
        if request.content_type != JSON:
            raise BadRequestError(f"send {JSON}, not {request.content_type}")
        try:
            update = json.loads(await request.read())
        except (ValueError, RecursionError) as error:
            raise BadRequestError("the body is not JSON") from error
        number = update.get("update_id") if isinstance(update, dict) else None
        if not is_id(number):
            raise BadRequestError("the body is no update: it has no update_id")
        name = f"telegram/{request.match_info['account']}"
        hook = self._services.hooks.find(name)
        if hook is None:
            raise UnavailableError(f"{name} takes no messages now", AGAIN_AFTER)
        await hook.take(number, update)
        return web.json_response({"ok": True})


def _hosts_of(url: str) -> Collection[str]:
    """As it stands in Host: with the port or without where it is the usual one."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = DEFAULT_PORTS[parts.scheme]
    if parts.port not in (None, usual):
        return (f"{host}:{parts.port}",)
    return (f"{host}", f"{host}:{usual}")
