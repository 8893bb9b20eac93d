"""A long file by hand, with its author's ways: a patch over the WebSocket changes the lines that it names, and no other byte."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

from tests.real.process import TOKEN, Gateway
from tests.real.texts import by_hand

LONG = 24 * 1024

PATCHES: tuple[tuple[str, dict[str, object], tuple[str, ...], tuple[str, ...]], ...] = (
    # What it is, the patch, the lines that go, and those that come in their place.
    ("a text in quotes", {"gateway": {"name": "elsewhere"}}, ("  name: 'home'   # what the page shows\n",),
     ("  name: 'elsewhere'   # what the page shows\n",)),
    ("a number in a mapping of one line", {"gateway": {"reload": {"debounce_ms": 250}}},
     ("  reload: {mode: hybrid,   debounce_ms: 300}    # ms\n",), ("  reload: {mode: hybrid,   debounce_ms: 250}    # ms\n",)),
    ("one of many accounts", {"channels": {"webchat": {"accounts": {"n7": {"stop_timeout_ms": 4321}}}}},
     ("        stop_timeout_ms: 4_007   # n7 may take so long\n",), ("        stop_timeout_ms: 4321   # n7 may take so long\n",)),
    ("a key that goes", {"channels": {"webchat": {"accounts": {"n9": {"stop_timeout_ms": None}}}}},
     ("        stop_timeout_ms: 4_009   # n9 may take so long\n",), ()),
    ("a key that comes", {"store": {"keep_days": 7}}, (), ("store:\n", "  keep_days: 7\n")),
    ("one that shares its list with others", {"channels": {"webchat": {"accounts": {"n8": {"enabled": True}}}}},
     ("        enabled: false           # not yet: n8\n",), ("        enabled: true           # not yet: n8\n",)),
)  # fmt: skip


def difference(old: str, new: str) -> tuple[list[str], list[str]]:
    """Lines that went, lines that came."""
    lines = list(difflib.ndiff(old.splitlines(keepends=True), new.splitlines(keepends=True)))
    return [line[2:] for line in lines if line.startswith("- ")], [line[2:] for line in lines if line.startswith("+ ")]


async def test_case_60_a_long_file_keeps_every_byte_that_a_patch_does_not_name(tmp_path: Path) -> None:
    text = by_hand(LONG, TOKEN)
    assert LONG <= len(text.encode()) < LONG + 400
    async with Gateway(tmp_path, text) as gateway:
        client = await gateway.client()
        for what, patch, gone, come in PATCHES:
            before = gateway.config.read_bytes()
            answer = await client.patch(json.dumps(patch))
            assert answer["receipt"]["outcome"] == "applied", what
            after = gateway.config.read_bytes()
            assert difference(before.decode(), after.decode()) == (list(gone), list(come)), what
        assert (await client.request("config.get"))["parsed"]["gateway"]["name"] == "elsewhere"
