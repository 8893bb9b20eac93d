"""Two hundred writers at once by both roads, an editor who does not ask, and a reader who never stops looking.

Every text is unlike any other, so that the hashes tell the order: who won says upon which text, the editor swaps its file
with the one that is there and so sees what it replaced, and all of them together must be one chain without a fork.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import json
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from gateway.config.file import parse
from tests.real.process import Client, Gateway, RpcError, attempt, config_text

WRITERS = 200
TRIES = 5
STUBBORN, TIMES = 4, 5
"""Writers who do not give up, and how often each of them wins: so that there is a chain worth the name."""
SAVES = 25
SEED = int(os.environ.get("SEED", "4"))
CONNECTIONS = 20
"""WebSockets, shared by the writers who use that road."""
FAST = "{mode: hybrid, debounce_ms: 100}"

Answer = tuple[str, str, bool]
"""The hash that a writer had, the one that it was told, and whether it won."""
Try = Callable[[str, str], Awaitable[Answer]]
"""Write under this name, upon this hash."""


def revision_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def patch_of(name: str) -> str:
    return json.dumps({"handlers": {name: {"type": "echo"}}})


def by_http(gateway: Gateway) -> Try:
    async def write(name: str, base: str) -> Answer:
        headers = {"If-Match": f'"{base}"', "Content-Type": "application/json"}
        status, body = await gateway.http("PATCH", "/api/v1/config", data=patch_of(name), headers=headers)
        assert status in (200, 412), body
        told = body["hash"] if status == 200 else body["error"]["details"]["currentHash"]
        return base, told, status == 200

    return write


def by_websocket(client: Client) -> Try:
    async def write(name: str, base: str) -> Answer:
        said = await attempt(client.request("config.patch", {"raw": patch_of(name), "baseHash": base}))
        if not isinstance(said, RpcError):
            return base, said["hash"], True
        assert said.error["code"] == "INVALID_REQUEST", said.error
        return base, said.error["details"]["currentHash"], False

    return write


@dataclass
class Writers:
    """Everybody who writes by a call, and what each of them was told."""

    said: dict[str, list[Answer]] = field(default_factory=dict)

    async def work(self, roads: list[Try], first: str) -> None:
        """All at once, a few times each; then a few who do not give up."""
        await asyncio.gather(*(self._try(f"one-{number}", road, first, TRIES) for number, road in enumerate(roads)))
        await asyncio.gather(*(self._often(f"all-{number}", roads[number], first) for number in range(STUBBORN)))

    async def _often(self, name: str, write: Try, base: str) -> None:
        for number in range(TIMES):
            await self._try(f"{name}-{number}", write, base, 1000)
            base = self.said[f"{name}-{number}"][-1][1]

    async def _try(self, name: str, write: Try, base: str, tries: int) -> None:
        said = self.said[name] = []
        while len(said) < tries and not (said and said[-1][2]):
            said.append(await write(name, said[-1][1] if said else base))

    @property
    def winners(self) -> dict[str, tuple[str, str]]:
        """What each of them replaced, and by what."""
        return {name: said[-1][:2] for name, said in self.said.items() if said[-1][2]}


class Editor:
    """Saves its own version, whatever is there: reads, adds a line, and swaps the two files, so that none is lost unseen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._swap = ctypes.CDLL(None, use_errno=True).renameat2
        self.saves: list[tuple[str, str]] = []
        """What each save replaced, and by what."""
        self.lost: list[bytes] = []
        """Texts that it replaced, which were not those that it had read: as with any editor that does not look again."""

    def save(self) -> None:
        read = self._path.read_bytes()
        mine = read + f"# saved {len(self.saves)}\n".encode()
        fresh = self._path.with_name(".editor")
        fresh.write_bytes(mine)
        here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        if self._swap(here, os.fsencode(fresh), here, os.fsencode(self._path), exchange):
            raise OSError(ctypes.get_errno(), "renameat2")
        replaced = fresh.read_bytes()
        fresh.unlink()
        self.saves.append((revision_of(replaced), revision_of(mine)))
        if replaced != read:
            self.lost.append(replaced)

    async def work(self, random: Random) -> None:
        while len(self.saves) < SAVES:
            await asyncio.sleep(0.05 + random.random() * 0.3)
            await asyncio.to_thread(self.save)


@contextmanager
def watched(path: Path) -> Iterator[dict[str, bytes]]:
    """Somebody who reads the file all the time, in a thread: every text that there was, by its hash."""
    seen: dict[str, bytes] = {}
    faults: list[OSError] = []
    end = threading.Event()

    def look() -> None:
        while not end.is_set():
            try:
                raw = path.read_bytes()
            except OSError as error:
                faults.append(error)
            else:
                seen[revision_of(raw)] = raw
            time.sleep(0)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()
    assert faults == [], "the file was gone for a moment"


async def test_case_54_of_two_hundred_writers_and_an_editor_every_one_wins_or_is_told(tmp_path: Path) -> None:
    print(f"SEED={SEED}")
    random = Random(SEED)
    async with Gateway(tmp_path, config_text(reload=FAST)) as gateway:
        first = revision_of(gateway.config.read_bytes())
        writers, editor = Writers(), Editor(gateway.config)
        clients = [await gateway.client() for _ in range(CONNECTIONS)]
        roads = [
            by_http(gateway) if number % 2 else by_websocket(clients[number % CONNECTIONS]) for number in range(WRITERS)
        ]
        with watched(gateway.config) as seen:
            await asyncio.gather(
                editor.work(random),
                writers.work(roads, first),
            )
        order = chain(first, writers, editor)
        judge(order, writers, editor, gateway.config, seen)
        last = revision_of(gateway.config.read_bytes())
        await gateway.until(lambda s: s["config"]["applied"] == last and s["state"] == "running")
        assert (await gateway.status())["accounts"][0]["generation"] == 1, "nothing of it concerned an account"


def chain(first: str, writers: Writers, editor: Editor) -> list[str]:
    """Every text that the file has held, in their order."""
    links = [*writers.winners.values(), *editor.saves]
    following = dict(links)
    assert len(following) == len(links), "two of them wrote over the same text"
    order = [first]
    while order[-1] in following:
        order.append(following[order[-1]])
    assert len(order) == len(links) + 1, "somebody wrote over a text that was not there any more"
    return order


def judge(order: list[str], writers: Writers, editor: Editor, path: Path, seen: dict[str, bytes]) -> None:
    answers = [answer for said in writers.said.values() for answer in said]
    print(f"{len(writers.winners)} won, {len(answers)} answers, {len(editor.saves)} saves, {len(seen)} texts seen")
    assert len(writers.winners) >= STUBBORN * TIMES
    assert len(editor.saves) == SAVES
    assert revision_of(path.read_bytes()) == order[-1], "the file is not the last winner's"
    for revision in set(seen) - set(order):
        assert is_refused(seen[revision], order), (
            f"a text was seen that nobody has written whole:\n{seen[revision].decode()}"
        )
    assert {told for _, told, _ in answers} <= set(order), "somebody was told a hash that never was"
    # What the editor wrote over it had not read, or it is in the file to this day.
    lost = {name for raw in editor.lost for name in parse(raw)["handlers"]}
    assert set(writers.winners) - lost <= set(parse(path.read_bytes())["handlers"]) - {"echo"}
    assert {found.name for found in path.parent.iterdir()} == {".gateway", "gateway.yaml", "log"}


def is_refused(raw: bytes, order: list[str]) -> bool:
    """Whether it is one of the texts with one more handler: of a write that is taken back, since the editor was quicker."""
    lines = raw.decode().splitlines(keepends=True)
    fewer = (lines[:begin] + lines[end:] for begin in range(len(lines)) for end in (begin + 1, begin + 2))
    return any(revision_of("".join(text).encode()) in order for text in fewer)
