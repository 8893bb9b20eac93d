"""Texts that are made to do harm, or that are no text, and paths that are no file: refused in bounded time and memory by
every road, with the place and the remedy, while everything else is served."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.config.file import MAX_BYTES, MOST_READ, revision_of
from tests.chaos.disk import Disk
from tests.fakes.telegram import FakeTelegram
from tests.real.process import Client, Gateway, RpcError, attempt, config_text, side_by_side, telegram_account

BOT = "1001:a-bots-secret-0001"
MAIN = "telegram/main"
FAST = "{mode: hybrid, debounce_ms: 50}"
MOST_MEMORY = 96 * 1024 * 1024
"""Bytes by which the process may grow while it reads all of them, one after the other."""
DEEP = 10_000
TOO_DEEP = r"line \d+, column \d+.*nested too deeply: more than 100 levels"
TOO_MUCH = r"line \d+, column \d+.*stands for more than 50,000 values"
NO_TAG = r"line \d, column \d+.*constructor for the tag.*leave the tag out"


def bomb(entry: str) -> str:
    """Nine lists of nine lists of nine ...: some hundred bytes that stand for hundreds of millions of values."""
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} " + entry.format(", ".join([f"*a{n - 1}"] * 9)) for n in range(1, 10)]
    return "\n".join(lines) + "\n"


EVIL: dict[str, tuple[str, str]] = {
    "a bomb of lists": (bomb("[{}]"), TOO_MUCH),
    "a bomb of merges": (bomb("{{<<: [{}]}}"), TOO_MUCH),
    "a long text many times": ("a: &a " + "x" * 500_000 + "\nb: [" + "*a, " * 40_000 + "]\n", TOO_MUCH),
    "half a million values": ("a: [" + "1," * 500_000 + "]\n", TOO_MUCH),
    "deep lists": ("a: " + "[" * DEEP + "]" * DEEP + "\n", TOO_DEEP),
    "deep mappings": ("{a: " * DEEP + "1" + "}" * DEEP + "\n", TOO_DEEP),
    "deep JSON": ('{"a": ' * DEEP + "1" + "}" * DEEP + "\n", TOO_DEEP),
    "deep and never closed": ("[" * 500_000, TOO_DEEP),
    "deep lists in a line": ("- " * DEEP + "x\n", TOO_DEEP),
    "deep keys": ("? " * DEEP + "x\n", TOO_DEEP),
    "deep by indenting": ("\n".join(" " * level + "a:" for level in range(1_400)) + "\n", TOO_DEEP),
    "deep by aliases": ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, DEEP)), TOO_DEEP),
    "nested in itself": ("gateway: &a {name: *a}\n", r"line 1, column \d+.*nested in itself"),
    "four thousand faults": ("".join(f"k{n}: 1\n" for n in range(4_000)), r"k0 .*line 1.*and 3,900 more faults"),
    "a missing variable, often": (
        "gateway: {name: '" + "${NOWHERE}" * 40_000 + "'}\n",
        r"gateway\.name .*NOWHERE; set it.*and 39,90. more faults",
    ),
    "a key as long as the file": (f"? {'k' * 500_000}\n: 1\n", r"^k{400}….*unknown key"),
    "a tag that runs a program": (
        "gateway: {name: !!python/object/apply:os.system ['touch owned']}\n", NO_TAG,
    ),
    "a tag that makes an object": ("gateway: !!python/object:gateway.app.App {}\n", NO_TAG),
    "a tag that imports": ("gateway: {name: !!python/name:os.system }\n", NO_TAG),
    "a tag of somebody's own": ("gateway: {name: !include /etc/passwd}\n", NO_TAG),
    "a tag for what is no text": ("gateway: {name: !!binary aGFsbG8=}\n", r"gateway\.name .*line 1.*Expected `?str"),
    "a key twice": ("gateway:\n  name: a\n  name: b\n", r'line 3, column 3.*duplicate key "name"; keep one of them'),
    "a section twice": ("gateway: {}\nstore: {}\ngateway: {}\n", r'line 3, column 1.*duplicate key "gateway"; keep one'),
    "a tab": ("gateway:\n\tname: x\n", r"line 2, column 1.*indent with spaces, not with tabs"),
    "two documents": ("gateway: {}\n---\ngateway: {}\n", r"line 2, column 1.*a config is one document"),
}  # fmt: skip
"""What can come by every road, and what is said of it."""
NO_TEXT: dict[str, tuple[bytes, str]] = {
    "Latin-1": ("gateway:\n  name: Café\n".encode("latin-1"), "line 2, column 1.*not UTF-8"),
    "UTF-16": ("gateway: {}\n".encode("utf-16"), "line 1, column 1.*not UTF-8"),
    "half a character": ("gateway:\n\n  name: 'é".encode()[:-1], "line 3, column 1.*not UTF-8"),
    "an overlong slash": (b"gateway: {name: '\xc0\xaf'}\n", "line 1, column 1.*not UTF-8"),
    "17 MiB": (b"#" * (MOST_READ + MAX_BYTES), "17,825,792 bytes.*at most 1,048,576"),
}
"""What only a file can be."""


def told(issues: list[dict[str, Any]]) -> str:
    return "; ".join(f"{i['path']} (line {i.get('line')}, column {i.get('column')}): {i['message']}" for i in issues)


def says(fault: str, text: str) -> None:
    assert re.search(fault, text, re.DOTALL), text[:2000]
    assert len(text) < 60_000


def peak(gateway: Gateway) -> int:
    """The most memory that the process ever had, in bytes."""
    assert gateway.process is not None
    lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


async def answered_meanwhile(gateway: Gateway, work: Awaitable[Any]) -> tuple[Any, int]:
    """What the work came to, and how many other calls were answered before that."""
    task, others = asyncio.ensure_future(work), 0
    while not task.done():
        assert (await gateway.http("GET", "/healthz"))[0] == 200
        others += not task.done()
    return task.result(), others


class Unmoved:
    """A gateway with a bot, of which nothing may move."""

    def __init__(self, gateway: Gateway, client: Client, text: str) -> None:
        self.gateway = gateway
        self.client = client
        self.text = text
        self.now = revision_of(text.encode())

    async def check(self) -> None:
        assert self.gateway.config.read_text() == self.text
        status = await self.gateway.until(lambda s: s["config"]["on_disk"] == self.now and s["config"]["issues"] == [])
        assert status["config"]["applied"] == self.now
        assert (status["state"], status["restarts"], status["tickets"]) == ("running", 0, [])
        assert {(a["state"], a["generation"]) for a in status["accounts"]} == {("running", 1)}
        assert len(self.gateway.boots) == 1


async def test_case_55_texts_that_do_harm_by_call(tmp_path: Path) -> None:
    """By PUT, PATCH, config.apply and config.patch: refused with the place, nothing written, nobody kept waiting, and no
    more memory than a config may take."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(BOT, "main_bot")
        text = config_text(telegram_account("main", BOT, telegram.url, poll_timeout_s=40), reload=FAST)
        async with Gateway(tmp_path, text) as gateway:
            await gateway.until(lambda s: all(a["state"] == "running" for a in s["accounts"]))
            house = Unmoved(gateway, await gateway.client(), text)
            before, others = peak(gateway), 0
            for kind, (raw, fault) in EVIL.items():
                for road in ("PUT", "PATCH", "config.apply", "config.patch"):
                    said, meanwhile = await answered_meanwhile(gateway, refusal(house, road, raw))
                    others += meanwhile
                    # A patch may be refused for what it would make of the file, too.
                    says(fault if road in ("PUT", "config.apply") else ".", said)
                    assert gateway.config.read_text() == text, (kind, road)
            assert peak(gateway) - before < MOST_MEMORY
            assert others >= len(EVIL), "whoever asked meanwhile had to wait"
            await house.check()
            assert bot.stats.overlaps == bot.stats.conflicts_self == 0
            assert gateway.starts(MAIN) == 1
            assert not (tmp_path / "owned").exists()


async def refusal(house: Unmoved, road: str, raw: str) -> str:
    """Send it; what was said of it."""
    if road.startswith("config."):
        answer = await attempt(house.client.request(road, {"raw": raw, "baseHash": house.now}))
        assert isinstance(answer, RpcError), (road, raw[:80])
        assert answer.error["code"] == "INVALID_REQUEST"
        return told(answer.error["details"]["issues"])
    headers = {"If-Match": house.now, "Content-Type": "application/yaml"}
    status, body = await house.gateway.http(road, "/api/v1/config", data=io.BytesIO(raw.encode()), headers=headers)
    assert (status, body["error"]["code"]) == (422, "invalid_config"), (road, raw[:80])
    return told(body["error"]["details"]["issues"])


async def test_case_56_texts_that_do_harm_by_file(tmp_path: Path) -> None:
    """Saved over the config: named in the status with the place, once in the log and in few words; nothing else happens,
    and the file stays as it was saved."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(BOT, "main_bot")
        text = config_text(telegram_account("main", BOT, telegram.url, poll_timeout_s=40), reload=FAST)
        async with Gateway(tmp_path, text) as gateway:
            await gateway.until(lambda s: all(a["state"] == "running" for a in s["accounts"]))
            house = Unmoved(gateway, await gateway.client(), text)
            before = peak(gateway)
            for raw, fault in every_text():
                gateway.config.write_bytes(raw)
                status, _ = await answered_meanwhile(gateway, gateway.until(partial(rejected, revision_of(raw))))
                says(fault, told(status["config"]["issues"]))
                assert gateway.config.read_bytes() == raw
                gateway.config.write_text(text)
                await house.check()
            assert peak(gateway) - before < MOST_MEMORY
            assert bot.stats.overlaps == bot.stats.conflicts_self == 0
            assert gateway.starts(MAIN) == 1
            assert not (tmp_path / "owned").exists()
            logged = [line for line in gateway.log if line.get("trigger") == "config_rejected"]
            assert len(logged) == len(every_text())


def rejected(revision: str, status: dict[str, Any]) -> bool:
    """All of it is said: which revision, what is wrong with it, and that this is why all is not well."""
    reasons = [reason["reason"] for reason in status["degraded"]]
    return bool(
        status["config"]["on_disk"] == revision and status["config"]["issues"] and reasons == ["config_rejected"]
    )


def every_text() -> list[tuple[bytes, str]]:
    return [*((raw.encode(), fault) for raw, fault in EVIL.values()), *NO_TEXT.values()]


AT_BOOT = (
    "a bomb of lists",
    "deep JSON",
    "deep lists in a line",
    "a tag that runs a program",
    "a key twice",
    "a tab",
    *NO_TEXT,
)


async def test_texts_that_do_harm_at_boot(tmp_path: Path) -> None:
    """With nothing to fall back to: 78, the fault with its place, and no traceback; the file is as it was."""

    async def boot(folder: Path, raw: bytes, fault: str) -> None:
        folder.mkdir()
        (folder / "gateway.yaml").write_bytes(raw)
        code, said = await end_of(Gateway(folder, None))
        assert code == 78
        says(fault, said)
        assert "Traceback" not in said
        assert (folder / "gateway.yaml").read_bytes() == raw
        assert not (folder / "owned").exists()

    texts = dict(zip((*EVIL, *NO_TEXT), every_text(), strict=True))
    await side_by_side({kind: boot(tmp_path / kind, *texts[kind]) for kind in AT_BOOT}, at_once=3)


async def end_of(gateway: Gateway) -> tuple[int, str]:
    try:
        await gateway.spawn()
        code = await gateway.wait()
    finally:
        await gateway.close()
    return code, (gateway.folder / "log").read_text()


# Paths that are no file


NO_FILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a folder": (Path.mkdir, "it is a folder; name the file in it"),
    "a pipe": (os.mkfifo, "it is no regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("kind", NO_FILE)
async def test_a_config_path_that_is_no_file_at_boot(tmp_path: Path, kind: str) -> None:
    make, what = NO_FILE[kind]
    make(tmp_path / "gateway.yaml")
    code, said = await end_of(Gateway(tmp_path, None))
    assert code == 78
    assert f"gateway.yaml cannot be read: {what}" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("kind", NO_FILE)
async def test_case_55_a_config_path_that_becomes_no_file(tmp_path: Path, kind: str) -> None:
    """It is said, nothing is stopped, nothing is written over it; the file comes back, and all is well."""
    make, what = NO_FILE[kind]
    async with Gateway(tmp_path, config_text(reload=FAST)) as gateway:
        await gateway.until(lambda s: all(a["state"] == "running" for a in s["accounts"]))
        text = gateway.config.read_text()
        house = Unmoved(gateway, await gateway.client(), text)
        gateway.config.unlink()
        make(gateway.config)
        kept = os.lstat(gateway.config)
        status = await gateway.until(lambda s: what in told(s["config"]["issues"]))
        assert (status["state"], status["config"]["applied"]) == ("running", house.now)
        for road in ("PUT", "config.apply"):
            said = await refusal(house, road, text.replace("gateway:\n", "gateway:\n  name: over it\n", 1))
            assert what in said
        assert (await gateway.http("GET", "/healthz"))[0] == 200
        assert os.path.samestat(kept, os.lstat(gateway.config))
        gateway.config.rmdir() if gateway.config.is_dir() else gateway.config.unlink()
        gateway.config.write_text(text)
        await house.check()


# Texts that are right


async def test_line_ends_of_windows_are_right(tmp_path: Path) -> None:
    """CRLF, with a BOM and without: by boot, by edit and by call; the bytes stay as they came."""
    text = config_text(reload=FAST).replace("\n", "\r\n")
    (tmp_path / "gateway.yaml").write_bytes(text.encode("utf-8-sig"))
    async with Gateway(tmp_path, None) as gateway:
        await gateway.until(lambda s: all(a["state"] == "running" for a in s["accounts"]))

        async def runs(name: str, raw: bytes) -> None:
            status = await gateway.until(lambda s: s["config"]["applied"] == revision_of(raw))
            assert (status["name"], status["config"]["issues"]) == (name, [])
            assert gateway.config.read_bytes() == raw

        edited = text.replace("gateway:\r\n", "gateway:\r\n  name: edited\r\n", 1).encode()
        gateway.config.write_bytes(edited)
        await runs("edited", edited)
        sent = edited.replace(b"edited", b"sent")
        headers = {"If-Match": revision_of(edited), "Content-Type": "application/yaml"}
        status, _ = await gateway.http("PUT", "/api/v1/config", data=sent, headers=headers)
        assert status == 200
        await runs("sent", sent)
        client = await gateway.client()
        sent = sent.replace(b"name: sent", b"name: applied")
        await client.request(
            "config.apply", {"raw": sent.decode(), "baseHash": (await client.request("config.get"))["hash"]}
        )
        await runs("applied", sent)
        # A fault in such a file is where an editor says that it is.
        gateway.config.write_bytes(sent.replace(b"  name:", b"  nmae:"))
        status_ = await gateway.until(lambda s: s["config"]["issues"] != [])
        (issue,) = status_["config"]["issues"]
        assert (issue["path"], issue["line"], issue["column"]) == ("gateway.nmae", 3, 3)


async def test_case_56_a_write_that_takes_seconds_is_read_when_it_has_ended(tmp_path: Path) -> None:
    """A writer that keeps the file open and adds to it, longer than the watcher waits between two looks of its own. Each
    beginning of the text is a config by itself, one without the account; none of them is ever applied."""
    async with FakeTelegram() as telegram:
        bot = telegram.add_bot(BOT, "main_bot")
        account = telegram_account("main", BOT, telegram.url, poll_timeout_s=40)
        text = config_text(account, reload="{mode: hybrid, debounce_ms: 150}")
        async with Gateway(tmp_path, text) as gateway:
            await gateway.until(lambda s: all(a["state"] == "running" for a in s["accounts"]))
            whole = text.replace("gateway:\n", "gateway:\n  name: whole\n", 1)
            cut = whole.index("  telegram:")
            pieces = [whole[:cut], *(f"  # {number}\n" for number in range(100)), whole[cut:]]
            with gateway.config.open("w") as file:
                for piece in pieces:
                    file.write(piece)
                    file.flush()
                    await asyncio.sleep(0.04)
            await gateway.until(lambda s: s["config"]["applied"] == revision_of("".join(pieces).encode()))
            assert gateway.starts(MAIN) == 1
            applied = [entry for entry in await gateway.journal() if entry["trigger"] == "plan_applied"]
            assert len(applied) == 1
            assert bot.stats.overlaps == bot.stats.conflicts_self == 0


# A full disk


async def test_case_55_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """Not a byte can be written: a write is refused as one for later, the file, its folder and what runs are as before,
    and when there is room again it is taken. Meanwhile an editor leaves an empty file behind, as they do then: that is
    said, and changes nothing."""
    with Disk.under(tmp_path) as disk:
        async with Gateway(tmp_path, config_text(reload=FAST)) as gateway:
            assert gateway.process is not None
            await gateway.until(lambda s: all(a["state"] == "running" for a in s["accounts"]))
            text = gateway.config.read_text()
            house = Unmoved(gateway, await gateway.client(), text)
            disk.fill(gateway.process.pid)
            names = sorted(path.name for path in tmp_path.iterdir())
            for road in ("PUT", "PATCH"):
                body = (
                    text.replace("gateway:\n", "gateway:\n  name: more\n", 1) if road == "PUT" else "gateway: {name: x}"
                )
                headers = {"If-Match": house.now, "Content-Type": "application/yaml"}
                status, said = await gateway.http(road, "/api/v1/config", data=body, headers=headers)
                assert (status, said["error"]["code"]) == (503, "not_written")
                assert "No space left" in said["error"]["message"] or disk.kind == "limit"
            with pytest.raises(RpcError) as refused:
                await house.client.patch(json.dumps({"gateway": {"name": "x"}}))
            assert refused.value.error["retryable"] is True
            assert sorted(path.name for path in tmp_path.iterdir()) == names
            await house.check()
            gateway.config.write_bytes(b"")
            status_ = await gateway.until(lambda s: "it is empty" in told(s["config"]["issues"]))
            assert status_["config"]["applied"] == house.now
            disk.free(gateway.process.pid)
            gateway.config.write_text(text)
            await house.check()
            assert (await house.client.patch(json.dumps({"gateway": {"name": "more"}})))["ok"]


async def test_a_pipe_in_the_place_of_the_config_keeps_no_thread(tmp_path: Path) -> None:
    """Read again and again: nobody waits for somebody to write into it, and the end comes as it should."""
    async with Gateway(tmp_path, config_text(reload=FAST)) as gateway:
        await gateway.until(lambda s: s["state"] == "running")
        gateway.config.unlink()
        os.mkfifo(gateway.config)
        client = await gateway.client()
        for _ in range(20):
            gateway.signal(signal.SIGHUP)
            assert (await client.request("config.get"))["valid"] is False
        await gateway.until(lambda s: "no regular file" in told(s["config"]["issues"]))
