"""The HTTP side: routes, one way in, and errors as `{"error": {code, message, details}}`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

import statemachine
from gateway.admin import schemas
from gateway.admin.api import Api
from gateway.admin.auth import ForbiddenError, Gatekeeper, TooManyAttemptsError, UnauthorizedError, bearer, check_place
from gateway.admin.config_calls import Caller
from gateway.admin.errors import Answer, BadRequestError, NotFoundError, RateLimitedError, RefusedError, answer_for
from gateway.admin.message_routes import MessageRoutes
from gateway.admin.routes import (
    ANY,
    JSON,
    MERGE_PATCH,
    METRICS,
    PAGE_FILES,
    VENDORED,
    YAML_TYPES,
    Handler,
    Route,
    is_brought,
    is_open,
)
from gateway.admin.services import Services
from gateway.admin.sign_in import SignInRoutes
from gateway.admin.strangers import Strangers
from gateway.admin.views import machine_kind
from gateway.admin.webhooks import Webhooks
from gateway.config.edit import merge_patch, parse_patch, replacement
from gateway.errors import (
    ConfigError,
    ConfigOwnedError,
    ConfigWriteError,
    GatewayError,
    NoWindowError,
    StaleHashError,
    StalePlanError,
    UnavailableError,
    UnknownRevisionError,
    WindowOpenError,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PAGE = Path(__file__).parent / "page"
DIAGRAMS = (Path(statemachine.__file__).parent / "diagrams", Path(statemachine.__file__).parent.parent / "diagrams")
"""Where the rendered pictures are: in an installed package, and in a checkout."""
MAX_BODY = 1024 * 1024
BODY_TYPES = frozenset({JSON, *YAML_TYPES})
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

JOURNAL_PIECE = 20
"""Lines of an exported journal that are made at once: some milliseconds of work."""

WRITE_ERRORS = (
    BadRequestError, ConfigError, ConfigOwnedError, StaleHashError, RateLimitedError, UnavailableError, ConfigWriteError,
    WindowOpenError, StalePlanError,
)  # fmt: skip


class Http:
    """Handlers are thin: parse, call the API, answer."""

    def __init__(
        self,
        services: Services,
        api: Api,
        gatekeeper: Gatekeeper,
        strangers: Strangers,
        webhooks: Webhooks,
        port: int,
        upgrade: Handler,
    ) -> None:
        self._services = services
        self._webhooks = webhooks
        self._upgrade = upgrade
        self._api = api
        self._gatekeeper = gatekeeper
        self._strangers = strangers
        self._port = port
        self._messages = MessageRoutes(api.messages, self._json_body, self._json)
        self._sign_in = SignInRoutes(gatekeeper, self._json_body)

    def routes(self) -> list[Route]:
        """Every call there is."""
        return [
            *self._page_routes(),
            *self._sign_in.routes(),
            *self._config_routes(),
            *self._control_routes(),
            *self._messages.routes(),
            *self._webhooks.routes(),
        ]

    def _page_routes(self) -> list[Route]:
        ready = {200: "Readiness", 503: "Readiness"}
        return [
            Route("GET", "/", self.page, {200: ("text/html",), 101: ()}),
            Route("GET", "/ws", self.socket, {101: ()}, errors=(BadRequestError,)),
            Route("GET", PAGE_FILES + "{name}", self.page_file, {200: (ANY,)}, errors=(NotFoundError,)),
            Route("GET", VENDORED + "{name}", self.vendored_file, {200: (ANY,)}, errors=(NotFoundError,)),
            Route("GET", "/healthz", self.health, {200: "Health"}),
            Route("GET", "/readyz", self.ready, ready, query=schemas.ReadyQuery),
            Route("GET", "/api/v1/openapi.json", self.openapi, {200: "OpenApi"}),
            Route("GET", "/api/v1/asyncapi.json", self.asyncapi, {200: "AsyncApi"}),
            Route("GET", METRICS, self.metrics, {200: ("text/plain",)}),
        ]

    def _config_routes(self) -> list[Route]:
        path, gives, query = "/api/v1/config", {200: "Receipt"}, schemas.WriteQuery
        return [
            Route("GET", path, self.config, {200: "ConfigFile"}),
            Route("PUT", path, self.put_config, gives, query=query, takes="config", errors=WRITE_ERRORS),
            Route("PATCH", path, self.patch_config, gives, query=query, takes="patch", errors=WRITE_ERRORS),
            Route(
                "POST", f"{path}/rollback", self.rollback, gives,
                takes=schemas.Rollback, errors=(*WRITE_ERRORS, UnknownRevisionError),
            ),
            Route(
                "POST", f"{path}/confirm", self.confirm, {200: "Decided"},
                takes=schemas.Confirm, errors=(BadRequestError, NoWindowError, ConfigWriteError),
            ),
            Route(
                "POST", f"{path}/plan", self.plan_config, {200: "Preview"}, query=schemas.PlanQuery,
                takes="plan", errors=(BadRequestError, ConfigError, StaleHashError),
            ),
            Route(
                "GET", f"{path}/history", self.history, {200: "History"},
                query=schemas.HistoryQuery, errors=(BadRequestError, UnavailableError),
            ),
            Route(
                "GET", f"{path}/history/{{revision}}", self.kept_revision, {200: "KeptRevision"},
                query=schemas.AgainstQuery, errors=(BadRequestError, UnknownRevisionError, UnavailableError),
            ),
            Route(
                "GET", f"{path}/schema", self.schema, {200: "ConfigSchema | ConfigSchemaPlace"},
                query=schemas.SchemaQuery, errors=(BadRequestError, NotFoundError),
            ),
        ]  # fmt: skip

    def _control_routes(self) -> list[Route]:
        account = "/api/v1/channels/{channel}/{account}/{verb:start|stop|restart}"
        restart, refused = "/api/v1/restart", (RefusedError, NotFoundError)
        picture = {200: ("image/svg+xml", "text/plain")}
        return [
            Route("GET", "/api/v1/status", self.status, {200: "Status"}),
            Route("GET", "/api/v1/channels", self.channels, {200: "Accounts"}),
            Route("POST", account, self.account_call, {200: "SettledAccount"}, errors=(*refused, UnavailableError)),
            Route(
                "POST", restart, self.restart, {202: "RestartAnswer"},
                takes=schemas.RestartRequest, errors=(BadRequestError, RefusedError),
            ),
            Route("DELETE", restart + "/{id}", self.cancel_restart, {200: "Cancelled"}, errors=refused),
            Route("GET", "/api/v1/requests/{id}", self.request, {200: "Request"}, errors=(NotFoundError,)),
            Route(
                "GET", "/api/v1/journal", self.journal, {200: "Journal"}, also=("application/jsonl",),
                query=schemas.JournalQuery, errors=(BadRequestError,),
            ),
            Route("GET", "/api/v1/machines", self.machines, {200: "Machines"}),
            Route(
                "GET", "/api/v1/machines/{name}.{kind:svg|mmd}", self.machine_picture, picture, errors=(NotFoundError,)
            ),
        ]  # fmt: skip

    # The way in

    @web.middleware
    async def gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Place first, then token, then the call; every error of ours becomes its answer here."""
        try:
            self._let_in(request)
            response = await handler(request)
        except ForbiddenError as error:
            response = self._error(Answer(403, "forbidden", "", str(error)))
        except UnauthorizedError as error:
            response = self._error(Answer(401, "unauthorized", "", str(error)))
            response.headers["WWW-Authenticate"] = "Bearer"
        except TooManyAttemptsError as error:
            response = self._error(Answer(429, "too_many_attempts", "", str(error), retry_after=error.retry_after))
        except GatewayError as error:
            response = self._error(answer_for(error))
        except web.HTTPException as error:
            response = self._error(Answer(error.status, error.reason.lower().replace(" ", "_"), "", error.reason))
            response.headers.update({name: error.headers[name] for name in ("Allow",) if name in error.headers})
        except Exception as error:
            if not (isinstance(error, ConnectionError) and _has_hung_up(request)):
                log.error("http_failed", method=request.method, path=request.path, exc_info=True)
            response = self._error(Answer(500, "internal", "", "an internal error; see the log"))
        if not response.prepared:
            response.headers.update(SAFE_HEADERS)
        return response

    def _let_in(self, request: web.Request) -> None:
        """Raises ForbiddenError, UnauthorizedError or TooManyAttemptsError."""
        admin = self._services.ledger.applied.gateway.admin
        if is_brought(request.path):
            check_place(request.headers, self._port, admin, self._webhooks.hosts())
            self._webhooks.check(request)
            self._strangers.welcome(request.transport)
            return
        check_place(request.headers, self._port, admin)
        if not (is_open(request.path) or (request.path == METRICS and admin.metrics_public)):
            self._gatekeeper.check(bearer(request.headers), request.remote or "")
            self._strangers.welcome(request.transport)

    def _json(self, data: Any, status: int = 200) -> web.Response:
        text = json.dumps(self._services.redactor.tree(data))
        return web.Response(text=text, status=status, content_type="application/json")

    def _error(self, answer: Answer) -> web.Response:
        body = {"code": answer.code, "message": answer.message, "details": answer.details}
        response = self._json({"error": body}, answer.status)
        if answer.retry_after is not None:
            response.headers["Retry-After"] = str(max(1, ceil(answer.retry_after)))
        if answer.code == "stale_hash":
            response.headers["ETag"] = f'"{answer.details["currentHash"]}"'
        return response

    async def _body(self, request: web.Request, types: frozenset[str] = BODY_TYPES) -> str:
        if request.content_type not in types:
            raise BadRequestError(f"send application/json or application/yaml, not {request.content_type}")
        try:
            return await request.text()
        except (UnicodeDecodeError, LookupError) as error:
            raise BadRequestError("the body is not UTF-8 text") from error

    async def _json_body(self, request: web.Request) -> Any:
        text = await self._body(request) if request.can_read_body else "{}"
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadRequestError(f"the body is not JSON: {error}") from error

    # The page

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page; and for a client of the protocol the WebSocket, as at `/ws`."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._upgrade(request)
        return web.FileResponse(PAGE / "index.html")

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket. Its frames are those of OpenClaw's gateway protocol, wire version 4."""
        return await self._upgrade(request)

    async def page_file(self, request: web.Request) -> web.StreamResponse:
        """A file of the page."""
        return _file_of(PAGE, request.match_info["name"])

    async def vendored_file(self, request: web.Request) -> web.StreamResponse:
        """A file of others that the page uses: its editor, and the licences of what is in that."""
        return _file_of(PAGE / "vendor", request.match_info["name"])

    # The document, probes and status

    async def openapi(self, _: web.Request) -> web.Response:
        """This document."""
        # Imported when asked for: its models are not on the way to the first poll.
        from gateway.admin.openapi import document  # noqa: PLC0415

        return self._json(document(self.routes(), self._services.model()))

    async def asyncapi(self, request: web.Request) -> web.Response:
        """The AsyncAPI document of the WebSocket: every method, event and frame."""
        # Imported when asked for, as the other one.
        from gateway.admin.asyncapi import document  # noqa: PLC0415

        return self._json(document(request.host))

    async def health(self, _: web.Request) -> web.Response:
        """Whether the process lives and its loop turns."""
        return self._json({"ok": True})

    async def ready(self, request: web.Request) -> web.Response:
        """Whether the control plane serves; with `channels=all`, whether every enabled account runs too."""
        ready, body = self._api.views.readiness(channels=request.query.get("channels") == "all")
        return self._json({"ready": ready, **body}, 200 if ready else 503)

    async def status(self, _: web.Request) -> web.Response:
        """Where everything is."""
        return self._json(self._api.views.status())

    async def metrics(self, _: web.Request) -> web.Response:
        """Metrics as Prometheus text. With `gateway.admin.metrics_public` no token is needed."""
        metrics = await asyncio.to_thread(import_module, "gateway.admin.metrics")
        scrape = metrics.Exposition(self._services.tally, self._api.views.status(), self._api.views.what_runs())
        text = self._services.redactor.text(await asyncio.to_thread(scrape.text))
        return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    # Config

    async def config(self, _: web.Request) -> web.Response:
        """The config file without its secrets, its hash, and what is wrong with it."""
        config = await self._api.config.get()
        body = {name: config[name] for name in ("config", "raw", "hash", "path", "issues")}
        body |= {"revision": config["hash"], "applied": config["appliedConfigHash"]}
        response = self._json(body)
        if config["hash"]:
            response.headers["ETag"] = f'"{config["hash"]}"'
        return response

    async def put_config(self, request: web.Request) -> web.Response:
        """Replace the config by a whole new text, and see it through. `__REDACTED__` keeps the secret that is there."""
        text = await self._body(request)
        return await self._write(request, replacement(text))

    async def patch_config(self, request: web.Request) -> web.Response:
        """Change the config by a merge patch (RFC 7396), and see it through. Comments and order stay."""
        text = await self._body(request)
        return await self._write(request, merge_patch(await asyncio.to_thread(parse_patch, text)))

    async def _write(self, request: web.Request, edit: Callable[[bytes], bytes]) -> web.Response:
        query = schemas.parse_params(schemas.WriteQuery, dict(request.query), strict=False)
        return self._receipt(
            await self._api.config.write(request.method, edit, _base(request), query, _caller(request))
        )

    async def rollback(self, request: web.Request) -> web.Response:
        """Write an earlier revision of the history into the file again, and see it through."""
        params = schemas.parse_params(schemas.Rollback, await self._json_body(request))
        return self._receipt(await self._api.config.rollback(params, _caller(request)))

    async def confirm(self, request: web.Request) -> web.Response:
        """Confirm, extend or cancel a change that must be confirmed."""
        params = schemas.parse_params(schemas.Confirm, await self._json_body(request))
        return self._json(await self._api.config.decide(params, _caller(request)))

    def _receipt(self, receipt: dict[str, Any]) -> web.Response:
        response = self._json(receipt)
        response.headers["ETag"] = f'"{receipt["hash"]}"'
        return response

    async def plan_config(self, request: web.Request) -> web.Response:
        """What a replacement or a merge patch would do: what changes, what would be fired, what to look at twice. Nothing is written.

        A body of the type `application/merge-patch+json` is a patch; with `patch=true` any is.
        """
        query = schemas.parse_params(schemas.PlanQuery, dict(request.query), strict=False)
        is_patch = query.patch or request.content_type == MERGE_PATCH
        text = await self._body(request, BODY_TYPES | {MERGE_PATCH})
        edit = merge_patch(parse_patch(text)) if is_patch else replacement(text)
        return self._json(await self._api.config.plan(edit, _base(request)))

    async def history(self, request: web.Request) -> web.Response:
        """Every revision that came, newest first: who brought it, when, why and by which road, and what became of it."""
        query = schemas.parse_params(schemas.HistoryQuery, dict(request.query), strict=False)
        return self._json(await self._api.history.page(query.limit, query.before))

    async def kept_revision(self, request: web.Request) -> web.Response:
        """One of them by its number or the beginning of its hash: its text without secrets, and what it changed."""
        query = schemas.parse_params(schemas.AgainstQuery, dict(request.query), strict=False)
        return self._json(await self._api.history.one(request.match_info["revision"], query.against))

    async def schema(self, request: web.Request) -> web.Response:
        """The config's JSON Schema, with hints; with a path, what is said of that place and what is below it."""
        query = schemas.parse_params(schemas.SchemaQuery, dict(request.query), strict=False)
        if query.path is None:
            return self._json(self._api.config.schema())
        return self._json(self._api.config.schema_lookup(query.path))

    # Accounts, restarts, requests

    async def channels(self, _: web.Request) -> web.Response:
        """Every account."""
        return self._json({"accounts": self._api.views.accounts()})

    async def account_call(self, request: web.Request) -> web.Response:
        """Start, stop or restart an account; answered when it has settled."""
        path = request.match_info
        return self._json(await self._api.account_call(path["verb"], path["channel"], path["account"]))

    async def restart(self, request: web.Request) -> web.Response:
        """Ask for a restart of the gateway. The delay is clamped to 0..60 s."""
        params = schemas.parse_params(schemas.RestartRequest, await self._json_body(request))
        return self._json(await self._api.restart(params, f"http {request.remote}"), 202)

    async def cancel_restart(self, request: web.Request) -> web.Response:
        """Cancel one request for a restart."""
        return self._json(await self._api.cancel_restart(request.match_info["id"]))

    async def request(self, request: web.Request) -> web.Response:
        """The outcome of any request."""
        return self._json(self._api.request(request.match_info["id"]))

    async def journal(self, request: web.Request) -> web.StreamResponse:
        """What the machines did and refused, after a sequence number, or the newest; as a file for `gateway replay`, too."""
        query = schemas.parse_params(schemas.JournalQuery, dict(request.query), strict=False)
        if query.format == "jsonl" and query.before is not None:
            raise BadRequestError("a file begins `after` a number; `before` is for pages")
        if query.format == "jsonl":
            return await self._journal_file(request, query)
        limit = schemas.JournalList().limit if query.limit is None else query.limit
        params = schemas.JournalList(after=query.after, before=query.before, limit=limit, machine=query.machine)
        return self._json(await self._api.journal(params))

    async def _journal_file(self, request: web.Request, query: schemas.JournalQuery) -> web.StreamResponse:
        """The whole of it, or what was asked for; made in pieces, between which the gateway goes on."""
        response = web.StreamResponse(headers=SAFE_HEADERS)
        response.content_type = "application/jsonl"
        response.charset = "utf-8"
        await response.prepare(request)
        if request.method == "GET":
            await self._send_lines(response, self._api.journal_file(query))
        return response

    async def _send_lines(self, response: web.StreamResponse, lines: Iterator[dict[str, Any]]) -> None:
        try:
            while piece := list(islice(lines, JOURNAL_PIECE)):
                text = "".join(json.dumps(self._services.redactor.tree(line)) + "\n" for line in piece)
                await response.write(text.encode())
                # A reader that keeps up makes no write wait.
                await asyncio.sleep(0)
            await response.write_eof()
        except ConnectionError:
            log.info("journal_reader_gone")

    # Machines

    async def machines(self, _: web.Request) -> web.Response:
        """The tables of the machines as data."""
        return self._json({"machines": self._api.views.machines()})

    async def machine_picture(self, request: web.Request) -> web.StreamResponse:
        """The picture of a machine: rendered (svg), or as Mermaid's text (mmd)."""
        name, kind = request.match_info["name"], request.match_info["kind"]
        machine = machine_kind(name)
        if machine is None:
            raise NotFoundError(f"there is no machine {name}")
        if kind == "svg":
            picture = next((folder / f"{name}.svg" for folder in DIAGRAMS if (folder / f"{name}.svg").exists()), None)
            if picture is None:
                raise NotFoundError(f"no picture of {name} was rendered; ask for {name}.mmd")
            return web.FileResponse(picture, headers={"Content-Type": "image/svg+xml; charset=utf-8"})
        # Imported when asked for: drawing is not on the way to the first poll.
        from statemachine.diagram import mermaid  # noqa: PLC0415

        return web.Response(text=mermaid(machine), content_type="text/plain", charset="utf-8")


def _file_of(folder: Path, name: str) -> web.FileResponse:
    """Only what is listed: no name leads out of the folder."""
    files = {path.name: path for path in folder.iterdir() if path.is_file()}
    if name not in files:
        raise NotFoundError(f"there is no file {name}")
    return web.FileResponse(files[name])


def _has_hung_up(request: web.Request) -> bool:
    """Whether nobody hears the answer. Who it was may be anybody, and is to fill no log."""
    return request.transport is None or request.transport.is_closing()


def _caller(request: web.Request) -> Caller:
    return Caller(f"http {request.remote}", "http")


def _base(request: web.Request) -> str | None:
    """The hash that its sender has seen."""
    return request.headers.get("If-Match", "").removeprefix("W/").strip('"') or None
