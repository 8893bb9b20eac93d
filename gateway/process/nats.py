"""Leases in a key-value bucket of NATS JetStream, where each write names the revision that it writes over."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoServersError
from nats.js.errors import (
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoStreamResponseError,
    ServiceUnavailableError,
)
from nats.js.kv import KeyValue

from gateway.config.lease import LeaseSettings
from gateway.process.lease_store import OutrunError, StoreUnreachableError
from statemachine.lease_record import Record

CONNECT_TIMEOUT = 1
ANSWER_TIMEOUT = 1.2
"""Seconds: two questions fit into what a lease has time for."""
CLOSE_TIMEOUT = 1.0


class Bucket(msgspec.Struct, frozen=True):
    """What a bucket is like: how many records it has, on how many servers each is, and how long, in seconds, one is kept."""

    records: int
    copies: int
    kept: float | None
    """None: until it is written over."""


class NatsStore:
    """One connection for all leases, made when one is asked for, and made anew after any answer that did not come.

    The library would connect again by itself, with a task that nobody can end, and would hold on to a line that is dead.
    """

    def __init__(self, settings: LeaseSettings) -> None:
        assert settings.url is not None, "or nothing is shared"
        self._url = settings.url
        self._settings = settings
        self._client: Client | None = None
        self._bucket: KeyValue | None = None
        self._connecting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._fault: Exception | None = None
        """What the library found last, which it keeps to itself while it tries the next server."""

    async def read(self, key: str) -> tuple[Record | None, int]:
        """A record and its revision; None and what a first one is written over. Raises StoreUnreachableError."""
        async with self._asked() as bucket:
            try:
                entry = await bucket.get(key)
            except KeyNotFoundError as error:
                # Somebody has deleted it by hand: what is left of it is written over.
                return None, error.entry.revision if error.entry is not None and error.entry.revision else 0
            if not entry.value:
                return None, entry.revision or 0
            return msgspec.json.decode(entry.value, type=Record), entry.revision or 0

    async def write(self, key: str, record: Record, revision: int) -> None:
        """Write over that revision. Raises OutrunError, StoreUnreachableError."""
        async with self._asked() as bucket:
            try:
                await bucket.update(key, msgspec.json.encode(record), last=revision)
            except KeyWrongLastSequenceError as error:
                raise OutrunError(key) from error

    async def look(self) -> Bucket | None:
        """The bucket as it is; None where there is none yet, which is not made here. Raises StoreUnreachableError."""
        async with self._answered():
            async with self._connecting:
                client = await self._connected()
            try:
                status = await (await client.jetstream().key_value(self._settings.bucket)).status()
            except BucketNotFoundError:
                return None
            config = status.stream_info.config
            return Bucket(status.values, config.num_replicas or 1, config.max_age or None)

    async def close(self) -> None:
        """Let go of the connection."""
        self._drop()
        await asyncio.gather(*self._closing)

    @contextlib.asynccontextmanager
    async def _asked(self) -> AsyncIterator[KeyValue]:
        async with self._answered():
            yield await self._ready()

    @contextlib.asynccontextmanager
    async def _answered(self) -> AsyncIterator[None]:
        """Whatever it is that goes wrong, it is the store that cannot be asked."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                yield
        except TimeoutError as error:
            self._drop()
            why = _said(self._fault) if self._fault else f"no answer within {ANSWER_TIMEOUT:g} s"
            raise StoreUnreachableError(f"{self._url}: {why}") from self._fault or error
        except (ServiceUnavailableError, NoStreamResponseError) as error:
            # Or somebody has deleted the bucket: it is looked for anew, and made where there is none.
            self._bucket = None
            raise StoreUnreachableError(f"{self._url}: it has no JetStream, or not now") from error
        except NoServersError as error:
            raise StoreUnreachableError(f"{self._url}: {_said(self._fault or error)}") from self._fault or error
        except (NatsError, OSError, msgspec.DecodeError, ValueError) as error:
            raise StoreUnreachableError(f"{self._url}: {_said(error)}") from error
        self._fault = None

    async def _connected(self) -> Client:
        if self._client is None or not self._client.is_connected:
            self._drop()
            self._client = Client()
            await self._connect(self._client)
        return self._client

    def _drop(self) -> None:
        """Close it, and wait for that elsewhere."""
        client, self._client, self._bucket = self._client, None, None
        if client is not None:
            task = asyncio.get_running_loop().create_task(_close(client), name="lease store")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _ready(self) -> KeyValue:
        async with self._connecting:
            client = await self._connected()
            if self._bucket is None:
                jetstream = client.jetstream()
                try:
                    self._bucket = await jetstream.key_value(self._settings.bucket)
                except BucketNotFoundError:
                    # On as many of the servers as it takes for one of them to be away.
                    copies = 3 if len(self._url.split(",")) >= 3 else 1
                    self._bucket = await jetstream.create_key_value(bucket=self._settings.bucket, replicas=copies)
            return self._bucket

    async def _connect(self, client: Client) -> None:
        settings = self._settings

        async def note(error: Exception) -> None:
            self._fault = error

        await client.connect(
            self._url.split(","),
            name="gateway",
            token=settings.token.reveal() if settings.token is not None else None,
            user_credentials=settings.credentials,
            connect_timeout=CONNECT_TIMEOUT,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # of each server, before it is called away
            reconnect_time_wait=0,
            error_cb=note,
        )


async def _close(client: Client) -> None:
    """A line that takes nothing any more cannot be told so."""
    with contextlib.suppress(NatsError, OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await client.close()


def _said(error: Exception) -> str:
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


def remedy_of(error: StoreUnreachableError) -> str:
    """What helps against it, by what the library found."""
    match error.__cause__:
        # Of what its servers refuse, the library has the words, and no class.
        case NatsError() as refusal if re.search("auth|permission", str(refusal), re.IGNORECASE):
            return "see that gateway.lease.token, or credentials, is what its servers let in"
        case ServiceUnavailableError() | NoStreamResponseError():
            return "start its servers with JetStream (nats-server -js), and with enough of them for a quorum"
        case FileNotFoundError() | PermissionError():
            return "see that gateway.lease.credentials names a file that this user may read"
        case _:
            return "see that its servers run, and look at gateway.lease.url, DNS and the firewall of this machine"
