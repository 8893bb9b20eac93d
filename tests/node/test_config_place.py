"""Where in the text of a config the page takes a place to be, asked of its own script: `|` is the cursor."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gateway.admin.http import PAGE
from tests.node.packages import NODE

ASK = """
const { placeAt, placeOf } = await import(process.argv[1]);
const ask = (text, place) => place(text.replace("|", ""), text.indexOf("|"));
const answer = ([text, whole]) => ask(text, whole ? placeOf : placeAt);
console.log(JSON.stringify(JSON.parse(process.argv[2]).map(answer)));
"""
LIST = "routes:\n  - channel: telegram\n    match: x\n  - "
SAME_COLUMN = "routes:\n- channel: telegram\n  "
FLOW = "gateway:\n  admin: {port: 0, token: 'a, b: c', "
PLACES = [
    ("|", "", "", True),
    ("gate|", "", "gate", True),
    ("gateway:\n  |", "gateway", "", True),
    ("gateway:\n  name: x\n\n  # why\n  ad|", "gateway", "ad", True),
    ("gateway:\n  name: x\n|", "", "", True),
    ("gateway:\n  name: of|", "gateway.name", "of", False),
    ("gateway:\n  name: a{2}, [b|", "gateway.name", "a{2}, [b", False),
    ("'a: b':\n  |", "a: b", "", True),
    (LIST + "han|", "routes.*", "han", True),
    (LIST + "handler: |", "routes.*.handler", "", False),
    (SAME_COLUMN + "mat|", "routes.*", "mat", True),
    (SAME_COLUMN.rstrip() + "\nhandlers:\n  |", "handlers", "", True),
    ("allow:\n  - - a|", "allow.*.*", "a", True),
    (FLOW + "wri|", "gateway.admin", "wri", True),
    (FLOW + "writes: 3|", "gateway.admin.writes", "3", False),
    (FLOW + "writes: 3}\n  re|", "gateway", "re", True),
    (FLOW + "\n    wri|", "gateway.admin", "wri", True),
    ("a: {b: {}, c: [x, {d: |", "a.c.*.d", "", False),
    ("a: {b: [x, y|", "a.b.*", "y", False),
    ("a: http://x|", "a", "http://x", False),
    ("a: >-\n  text: {\n  more\nb|", "", "b", True),
    ("a: >\n  text: |", "a", "", False),
    ('a: "x # y", \nb|', "", "b", True),
    ("# a comment|", "", "", False),
]
KEYS = [("gate|way:\n", "gateway"), ("a: {b|c: 1}", "a.bc"), ("a: x|y", "a")]

Found = tuple[str, str, bool]


@pytest.fixture(scope="module")
def found() -> dict[str, Found]:
    """Of every text, asked of one process."""
    texts = [(text, False) for text, *_ in PLACES] + [(text, True) for text, _ in KEYS]
    command: list[str | Path] = [
        NODE,
        "--input-type=module",
        "-e",
        ASK,
        (PAGE / "configplace.js").as_uri(),
        json.dumps(texts),
    ]
    answers = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    places = [(".".join(answer["path"]), answer["typed"], answer["isKey"]) for answer in answers]
    return dict(zip([text for text, _ in texts], places, strict=True))


@pytest.mark.parametrize(("text", "path", "typed", "is_key"), PLACES)
def test_a_text_that_is_being_written_has_its_place(
    found: dict[str, Found], text: str, path: str, typed: str, is_key: bool
) -> None:
    assert found[text] == (path, typed, is_key)


@pytest.mark.parametrize(("text", "path"), KEYS)
def test_a_cursor_in_a_key_is_at_that_key(found: dict[str, Found], text: str, path: str) -> None:
    assert found[text][0] == path
