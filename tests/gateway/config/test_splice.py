"""What a patch does to a text, byte for byte: each kind of place that a value can stand at, and each kind of change."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.edit import merge_patch
from gateway.config.file import MAX_BYTES, parse
from gateway.errors import ConfigError


def patched(text: str, patch: dict[str, Any]) -> str:
    return merge_patch(patch)(text.encode()).decode()


LISTED = "a:\n  # one\n  - x  # x\n  # two\n  - y\n\n  - k: v  # kv\n    l: w\nz: 1\n"
NESTED = "a:\n- - x\n  - y\n- c: 1\n  # about d\n  d: 2\n"
JSON = '{\n  "a": {\n    "b": 1,\n    "c": [1, 2]\n  },\n  "d": {}\n}'
LINES = "a: {\n  # one\n  b: 1,  # b\n  # two\n  c: 2  # c\n}\n"


@pytest.mark.parametrize(
    ("text", "patch", "wanted"),
    [
        # A value in the place of another: its quotes, where it can have them
        ("a: 'x'  # c\n", {"a": "it's"}, "a: 'it''s'  # c\n"),
        ('a: "x"\n', {"a": 'a "b" \\ \u2028ü'}, 'a: "a \\"b\\" \\\\ \\u2028ü"\n'),
        ("a: x\n", {"a": "a: b"}, "a: 'a: b'\n"),
        ("a: x\n", {"a": "${X}"}, "a: ${X}\n"),
        ("a: {b: x}\n", {"a": {"b": "${X}"}}, "a: {b: '${X}'}\n"),
        ("a: x\n", {"a": "no"}, "a: no\n"),
        ("a: x\n", {"a": "null"}, "a: 'null'\n"),
        ("a: 'x'\n", {"a": 5}, "a: 5\n"),
        ("a: 1\n", {"a": "1"}, "a: '1'\n"),
        ("a: x\n", {"a": "two\nlines"}, 'a: "two\\nlines"\n'),
        ("a: x\n  y\n\n  z  # c\nb: 1\n", {"a": "w"}, "a: w  # c\nb: 1\n"),
        ("a:   x\n", {"a": 0.5}, "a:   0.5\n"),
        ("a: x\n", {"a": float("-inf")}, "a: -.inf\n"),
        ("a:\n", {"a": 5}, "a: 5\n"),
        ("a:  # c\nb: 1\n", {"a": 5}, "a: 5  # c\nb: 1\n"),
        ("a: {b: , c: 1}\n", {"a": {"b": 5}}, "a: {b: 5 , c: 1}\n"),
        ("a: |  # c\n    x\n    y\n\nb: 1\n", {"a": "p\n\n q\n"}, "a: |  # c\n    p\n\n     q\n\nb: 1\n"),
        ("a: >-\n  x\n  y\n", {"a": "one line"}, "a: >-\n  one line\n"),
        ("a: |+\n  x\n\n\nb: 1\n", {"a": "y"}, "a: |-\n  y\nb: 1\n"),
        ("a: |\n  x\n\nb: 1\n", {"a": " y"}, "a: ' y'\n\nb: 1\n"),
        ("a: |\n  x\nb: 1\n", {"a": "y\n\n"}, 'a: "y\\n\\n"\nb: 1\n'),
        ("a: |\n  x\nb: 1\n", {"a": 5}, "a: 5\nb: 1\n"),
        ("a: |\n  x\nb: 1\n", {"a": {"k": 1}}, "a:\n  k: 1\nb: 1\n"),
        ("a: !!str 5  # c\n", {"a": 6}, "a: 6  # c\n"),
        ("? a\n: x\n? b\n: y\n", {"a": 1}, "? a\n: 1\n? b\n: y\n"),
        # Something with entries in the place of something without, and the other way
        ("a: x  # c\nb: 1\n", {"a": {"k": {"l": 1}}}, "a:  # c\n  k:\n    l: 1\nb: 1\n"),
        ("a: x\nb: 1\n", {"a": [1, {"k": 1, "l": []}]}, "a:\n- 1\n- k: 1\n  l: []\nb: 1\n"),
        ("a:  # c\n\n  # k\n  k: 1\n  l: 2\nb: 1\n", {"a": 5}, "a: 5  # c\n\nb: 1\n"),
        ("a:\n- 1\n- 2\nb: 1\n", {"a": {"k": 1}}, "a:\n  k: 1\nb: 1\n"),
        ("a: [1, 2]  # c\n", {"a": {"k": 1}}, "a:  # c\n  k: 1\n"),
        ("a: {b: 1}\n", {"a": {"b": {"k": [1, "x, y"]}}}, "a: {b: {k: [1, 'x, y']}}\n"),
        ("a: {}  # none\nb: 1\n", {"a": {"k": 1}}, "a:  # none\n  k: 1\nb: 1\n"),
        ("a: []\n", {"a": ["x"]}, "a:\n- x\n"),
        ("a: { }\n", {"a": {}}, "a: { }\n"),
        ("{}", {"a": {"b": 1}}, "a:\n  b: 1"),
        ("# c\n{}  # d\n", {"a": 1}, "# c\na: 1  # d\n"),
        ("--- {}\n", {"a": {"b": 1}}, "--- {a: {b: 1}}\n"),
        ("--- {}\n", {}, "--- {}\n"),
        # A key is added: at the end of its mapping, before what belongs to what follows
        ("a:\n    b: 1\n    # of b\n\n# of c\nc: 1\n", {"a": {"k": 1}}, "a:\n    b: 1\n    k: 1\n    # of b\n\n# of c\nc: 1\n"),
        ("a:\n  b:\n    c: 1\n\n    # of b\n  # of a\n", {"a": {"k": 1}}, "a:\n  b:\n    c: 1\n\n    # of b\n  k: 1\n  # of a\n"),
        ("a: 1\n\n# The end.\n", {"k": {"l": 1}}, "a: 1\nk:\n  l: 1\n\n# The end.\n"),
        ("a: 1", {"k": 1}, "a: 1\nk: 1"),
        ("'a': 1\n", {"k": "v"}, "'a': 1\n'k': v\n"),
        ("a:\n- b: 1\n", {"k": ["x"]}, "a:\n- b: 1\nk:\n- x\n"),
        ("a:\n  - b: 1\n", {"k": ["x"]}, "a:\n  - b: 1\nk:\n  - x\n"),
        ("a: { b: 1 }\n", {"a": {"k": 1}}, "a: { b: 1, k: 1 }\n"),
        ("a: {b: 1, }\n", {"a": {"k": 1}}, "a: {b: 1, k: 1, }\n"),
        ("a: {b: }\n", {"a": {"k": 1}}, "a: {b: , k: 1 }\n"),
        ("a: [{b: {}}]\n", {"a": [{"b": {"k": 1}}]}, "a: [{b: {k: 1}}]\n"),
        ("a: [b: 1]\n", {"a": [{"b": 1, "k": 2}]}, "a: [{b: 1, k: 2}]\n"),
        ("a: {  # none\n}\n", {"a": {"k": 1}}, "a: {k: 1  # none\n}\n"),
        (LINES, {"a": {"k": 1}}, LINES.replace("2  # c\n", "2,  # c\n  k: 1\n")),
        (LINES.replace("2  #", "2,  #"), {"a": {"k": 1}}, LINES.replace("2  # c\n", "2,  # c\n  k: 1,\n")),
        (JSON, {"a": {"k": {"x": ["y", None]}}}, JSON.replace("2]", '2],\n    "k": {"x": ["y", null]}')),
        (JSON, {"d": {"k": "v"}}, JSON.replace("{}", '{"k": "v"}')),
        # A key goes, with its lines and the comment right above it
        ("# head\na: 1\n# b\nb: 2  # c\n  # of b\n\nc: 3\n", {"b": None}, "# head\na: 1\n\nc: 3\n"),
        ("# head\na: 1\nb: 2\n", {"a": None}, "# head\nb: 2\n"),
        ("a:\n  # apart\n\n  # b\n  b: 1\nc: 1\n", {"a": {"b": None}}, "a: {}\n  # apart\n\nc: 1\n"),
        ("a: &x  # c\n  b: 1\n", {"a": {"b": None}}, "a: &x {}  # c\n"),
        ("a: 1\n", {"a": None}, "{}\n"),
        ("a: 1", {"a": None}, "{}"),
        ("a: 1\nb: 2", {"b": None}, "a: 1"),
        ("a: |\n  x\nb: 2", {"b": None}, "a: |\n  x\n"),
        ('a: "x\n# no comment"\nb: 2\n', {"b": None}, 'a: "x\n# no comment"\n'),
        ("a: {b: 1, c: 2,  d: 3}\n", {"a": {"b": None}}, "a: {c: 2,  d: 3}\n"),
        ("a: {b: 1, c: 2,  d: 3}\n", {"a": {"c": None}}, "a: {b: 1, d: 3}\n"),
        ("a: {b: 1, c: 2,  d: 3 }\n", {"a": {"d": None}}, "a: {b: 1, c: 2 }\n"),
        ("a: {b: 1, c: 2,  d: 3}\n", {"a": {"c": None, "d": None}}, "a: {b: 1}\n"),
        ("a: {b: 1, c: 2,\n  d: 3}\n", {"a": {"b": None, "c": None}}, "a: {\n  d: 3}\n"),
        ("a: { b: 1, }\n", {"a": {"b": None}}, "a: {}\n"),
        ("a: {b: 1, c: 2}\n", {"a": {"c": None, "k": 3}}, "a: {b: 1, k: 3}\n"),
        ("a: { b: 1, c: 2 }\n", {"a": {"b": None, "c": None, "k": 3}}, "a: { k: 3 }\n"),
        (LINES, {"a": {"b": None}}, "a: {\n  # two\n  c: 2  # c\n}\n"),
        (LINES, {"a": {"b": None, "c": None}}, "a: {}\n"),
        (LINES.replace("one", "apart\n\n  # one"), {"a": {"b": None, "c": None}}, "a: {\n  # apart\n\n}\n"),
        (LINES, {"a": {"b": None, "c": None, "k": 1, "l": 2}}, "a: {\n  k: 1,\n  l: 2\n}\n"),
        (LINES, {"a": {"c": None}}, "a: {\n  # one\n  b: 1  # b\n}\n"),
        (LINES, {"a": {"c": None, "k": 1}}, "a: {\n  # one\n  b: 1,  # b\n  k: 1\n}\n"),
        (JSON, {"d": None}, JSON.replace('  },\n  "d": {}\n', "  }\n")),
        # A list loses entries, and gets some
        (LISTED, {"a": ["y", {"k": "v", "l": "w"}]}, LISTED.replace("  # one\n  - x  # x\n", "")),
        (LISTED, {"a": ["x", {"k": "v", "l": "w"}, "n"]}, "a:\n  # one\n  - x  # x\n\n  - k: v  # kv\n    l: w\n  - n\nz: 1\n"),
        (LISTED, {"a": ["n", "x", "y", {"k": "v", "l": "w"}]}, LISTED.replace("a:\n", "a:\n  - n\n")),
        (LISTED, {"a": ["x", "y", {"k": "n", "l": "w"}]}, LISTED.replace("k: v", "k: n")),
        (LISTED, {"a": ["y", "x", {"k": "v", "l": "w"}]}, "a:\n  # two\n  - y\n  # one\n  - x  # x\n\n  - k: v  # kv\n    l: w\nz: 1\n"),
        (LISTED, {"a": [{"k": "v", "l": "n"}]}, "a:\n\n  - k: v  # kv\n    l: n\nz: 1\n"),
        (LISTED, {"a": []}, "a: []\n\nz: 1\n"),
        (LISTED, {"a": ["n"]}, "a:\n  - n\n\nz: 1\n"),
        ("a:\n- 'x'\n", {"a": ["x", "y"]}, "a:\n- 'x'\n- 'y'\n"),
        ("a: ['x', y]\n", {"a": ["z", "x", "y"]}, "a: ['z', 'x', y]\n"),
        ("a: [x, y, z]\n", {"a": ["z", "x"]}, "a: [z, x]\n"),
        ("a: [x]\n", {"a": []}, "a: []\n"),
        ("a: [\n  x,  # x\n  y,\n  z,\n]\n", {"a": ["n", "x", "z", "m"]}, "a: [\n  n,\n  x,  # x\n  z,\n  m,\n]\n"),
        (NESTED, {"a": [["y"], {"d": 2}]}, "a:\n- - y\n-\n  # about d\n  d: 2\n"),
        (NESTED, {"a": [["n", "x", "y"], {"c": 1, "d": 2}]}, NESTED.replace("- - x", "- - n\n  - x")),
        (NESTED, {"a": [["n", "y"], {"c": 1, "d": 2}]}, NESTED.replace("- - x", "- - n")),
        (NESTED, {"a": [[], {"n": {"m": 1}}]}, "a:\n- []\n- n:\n    m: 1\n"),
        (NESTED, {"a": [["x", "y"], {"d": 2, "n": 1}]}, "a:\n- - x\n  - y\n-\n  # about d\n  d: 2\n  n: 1\n"),
        ("a:\n- {}\n- x\n", {"a": [{"k": 1, "l": 2}, "x"]}, "a:\n- k: 1\n  l: 2\n- x\n"),
        # Anchors: the first alias that is left takes the value over
        ("a: &x 1  # c\nb: *x  # d\nc: [*x]\n", {"a": 2}, "a: 2  # c\nb: &x 1  # d\nc: [*x]\n"),
        ("a: &x 1\nb: *x\nc: *x\n", {"a": 2, "b": 3}, "a: 2\nb: 3\nc: &x 1\n"),
        ("a: &x 1\nb: *x\n", {"a": 2, "b": 3}, "a: &x 2\nb: 3\n"),
        ("a: &x !!str 1\nb: *x\n", {"a": "2"}, "a: '2'\nb: &x '1'\n"),
        ("a: &x\n  k: 1  # k\nb: *x  # d\n", {"a": {"k": 2}}, "a:\n  k: 2  # k\nb: &x  # d\n  k: 1\n"),
        ("a: &x {k: 1}\nb:\n- *x\n- *x\n", {"a": None}, "b:\n- &x\n  k: 1\n- *x\n"),
        ("a: &x [k]\nb:\n- *x\n", {"a": []}, "a: []\nb:\n- &x\n  - k\n"),
        ("a: [&x !!str k, *x]\n", {"a": ["n", "k"]}, "a: [n, &x !!str k]\n"),
        ("a: [&x k, *x]\nb: *x\n", {"a": ["k"]}, "a: [&x k]\nb: *x\n"),
        ("a: &x\nb: *x\n", {"a": 5}, "a: 5\nb: &x null\n"),
        ("*x : 1\n", {}, None),
        ("b: &x k\n*x : 1\n", {"k": 2}, "b: &x k\n*x : 2\n"),
        ("b: &x k\n*x : 1\n", {"b": 2}, "b: 2\n&x k : 1\n"),
        ("a: [&x k, 1, 2]\nb: *x\n", {"a": [1, 2, "k"]}, "a: [1, 2, k]\nb: &x k\n"),
        # What is merged in stays so
        ("b: &b {p: 1}\nm:\n  <<: *b\n  t: 1\n", {"m": {"t": 2, "p": 1}}, "b: &b {p: 1}\nm:\n  <<: *b\n  t: 2\n"),
    ],
)  # fmt: skip
def test_the_text_after_a_patch(text: str, patch: dict[str, Any], wanted: str | None) -> None:
    if wanted is None:
        with pytest.raises(ConfigError, match="not valid"):
            patched(text, patch)
        return
    assert patched(text, patch) == wanted
    windows = text.replace("\n", "\r\n").encode()
    assert "\n" not in text or merge_patch(patch)(windows).decode() == wanted.replace("\n", "\r\n")
    assert merge_patch(patch)(b"\xef\xbb\xbf" + text.encode()) == b"\xef\xbb\xbf" + wanted.encode()


@pytest.mark.parametrize(
    ("text", "patch"),
    [
        ("a: |\n  x", {"k": 1}),  # a line end would become part of the text
        ("a: |+\n  x\nb: 1\n\nc: 1\n", {"b": None}),  # so would the empty line
        ("a: 1\n", {"k" * 2_000: 1}),  # no reader takes such a key
        ("b: {<<: {k: &x [1]}}\nc: *x\n", {"b": None}),  # what is merged in has no place in data
    ],
)
def test_what_cannot_be_written_is_refused(text: str, patch: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="write that out plainly in the file, or replace the whole file"):
        patched(text, patch)


def test_what_would_be_too_much_says_so() -> None:
    with pytest.raises(ConfigError, match="more than 50,000 values"):
        patched("a: 1\n", {"b": [1] * 50_000})
    with pytest.raises(ConfigError, match="a config has at most"):
        patched("a: 1\n", {"b": "x" * MAX_BYTES})


def test_half_a_character_is_named_as_what_it_is() -> None:
    with pytest.raises(ConfigError, match="half of a character"):
        patched("a: 1\n", {"a": "\ud800"})


def test_a_list_that_is_too_long_to_be_compared_is_changed_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("gateway.config.splice.SequenceMatcher")  # it takes the square of the length
    numbers = list(range(1_000))
    text = "a:\n" + "".join(f"- {number}  # {number}\n" for number in numbers)
    wanted = [*numbers[:400], 7_000, *numbers[500:]]
    assert patched(text, {"a": wanted}).splitlines() == [
        "a:",
        *(f"- {number}  # {number}" for number in numbers[:400]),
        "- 7000",
        *(f"- {number}  # {number}" for number in numbers[500:]),
    ]
    assert parse(patched(text, {"a": numbers[::-1]}).encode()) == {"a": numbers[::-1]}
    entries = [{"k": number} for number in numbers]
    assert parse(patched(text, {"a": entries}).encode()) == {"a": entries}


def test_a_round_trip_of_a_large_file_changes_one_line() -> None:
    account = "      # {0}: ä\n      a{0}:\n        token: '{0}:x'   # its token\n        poll: 0x1F  \n\n"
    text = "channels:\n  telegram:\n    accounts:\n" + "".join(account.format(n) for n in range(300)) + "# The end."
    assert len(text.encode()) > 24_000
    new = patched(text, {"channels": {"telegram": {"accounts": {"a150": {"token": "new"}}}}})
    assert new == text.replace("'150:x'", "'new'")


def test_secrets_sent_back_as_marks_stay_as_they_are_written() -> None:
    text = "l:\n- {n: 1, t: \"x\\u0041\"}  # one\n- {n: 2, t: 'y'}\nt: ${T}\n"
    mark = "__REDACTED__"
    for patch in ({"l": [{"n": 1, "t": mark}, {"n": 2, "t": mark}]}, {"t": mark}):
        assert patched(text, patch) == text
    # Each by what it is, not by where it is.
    assert patched(text, {"l": [{"n": 2, "t": mark}]}) == "l:\n- {n: 2, t: 'y'}\nt: ${T}\n"
    assert parse(patched(text, {"l": [{"n": 3, "t": mark}, {"n": 2, "t": mark}]}).encode())["l"][0]["t"] == "xA"
    # Where it is not known which one is meant, the mark stays, and the reader refuses it.
    assert parse(patched(text, {"l": [{"n": 3, "t": mark}]}).encode())["l"] == [{"n": 3, "t": mark}]
    assert parse(patched(text, {"new": mark, "l": {"t": mark}}).encode())["new"] == mark
