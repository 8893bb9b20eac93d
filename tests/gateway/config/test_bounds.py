"""How much a text may stand for: what a few bytes can make of a list of aliases is refused before it is made."""

from __future__ import annotations

import pytest

from gateway.config.bounds import MAX_VALUES
from gateway.config.edit import merge_patch, parse_patch, replacement
from gateway.config.file import MOST_FAULTS, parse
from gateway.config.places import scalars
from gateway.errors import ConfigError
from gateway.redact import MARK
from tests.gateway.configs import HEAD, config, faults

TOO_MUCH = f"stands for more than {MAX_VALUES:,} values"


def bomb(inner: str, levels: int = 9) -> str:
    """A list of nine of a list of nine of ...: a few hundred bytes that stand for hundreds of millions of values."""
    lines = ["a0: &a0 {k: v}" if "<<" in inner else "a0: &a0 [x, x]"]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} " + inner.format(f"[{aliases}]"))
    return "\n".join(lines) + "\n"


BOMBS = [bomb("{}"), bomb("{{<<: {}}}"), bomb("{}") + "web: [http://host:80]\n", "web: [http://host:80]\n" + bomb("{}")]
"""As lists, as merged mappings, and with what only the slow reader takes."""


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", BOMBS)
def test_a_bomb_of_aliases_is_refused_wherever_it_comes_in(text: str) -> None:
    for road in (
        lambda: config(text),
        lambda: parse_patch(text),
        lambda: replacement(text)(HEAD.encode()),
        lambda: merge_patch({"gateway": {"name": "x"}})(text.encode()),
    ):
        with pytest.raises(ConfigError) as caught:
            road()
        assert any(TOO_MUCH in issue.message or "not valid" in issue.message for issue in caught.value.issues)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", [*BOMBS, "a: &a [*a]\n", "a: &a {b: *a}\n"])
def test_a_bomb_on_the_disk_can_be_replaced(text: str) -> None:
    """Also by a text that holds marks, for which the present secrets are looked up."""
    new = HEAD.replace("the-admin-token", MARK)
    assert replacement(new)(text.encode()).decode() == new


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a {b: [1, {c: *a}]}\n"])
def test_what_is_nested_in_itself_says_so_and_where(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode())
    assert "nested in itself" in str(caught.value)
    assert caught.value.issues[0].line == 1


def test_many_values_are_too_many_without_an_alias_too() -> None:
    with pytest.raises(ConfigError, match=TOO_MUCH):
        parse(b"a: [" + b"1," * MAX_VALUES + b"]")
    assert len(parse(b"a: [" + b"1," * (MAX_VALUES - 10) + b"]")["a"]) == MAX_VALUES - 10


def test_levels_are_counted_through_aliases() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200)]
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse("\n".join(lines).encode())
    assert parse("\n".join(lines[:90]).encode())["a89"] != []


def test_an_alias_is_welcome() -> None:
    text = "a: &a {x: [1, 2]}\nb: *a\nc: {<<: *a, y: 3}\n"
    assert parse(text.encode()) == {"a": {"x": [1, 2]}, "b": {"x": [1, 2]}, "c": {"x": [1, 2], "y": 3}}
    assert "b.x.1" in scalars(text.encode())


@pytest.mark.parametrize(
    "text", ["{host: ::1}", "{host: [::1, why?, http://host:80]}", "{why?: x}", "{host: x, b: {c: E?7}}"]
)
def test_what_the_quick_reader_takes_for_a_fault_is_read_all_the_same(text: str) -> None:
    assert parse(text.encode())


@pytest.mark.parametrize(
    "value", ['!!int ""', '!!float ""', "!!int x", "!!timestamp x", "2020-13-40", "!!binary é", "!!omap x"]
)
def test_a_value_that_is_not_what_it_claims_to_be_is_a_fault(value: str) -> None:
    with pytest.raises(ConfigError):
        config(f"gateway: {{name: {value}}}\n")


def test_a_long_text_counts_wherever_an_alias_brings_it_in() -> None:
    """Half a megabyte, forty thousand times: no memory, but every reader would go through all of it, again and again."""
    long = "x" * 500_000
    with pytest.raises(ConfigError, match=TOO_MUCH):
        config(f"a: &a {long}\nb: [{'*a,' * 40_000}]\n")
    with pytest.raises(ConfigError, match=TOO_MUCH):
        config(f"a: {{? &a {long} : 1}}\nb: [{'*a,' * 40_000}]\n")
    assert parse(f"a: &a {long}\nb: [*a, *a]\n".encode())["b"] == [long, long]
    assert parse(b"a: &a x\nb: [" + b"*a, " * 40_000 + b"]\n")["b"][-1] == "x"


MANY: dict[str, str] = {
    "unknown keys": "".join(f"key{number}: 1\n" for number in range(20_000)),
    "unknown keys of accounts": "channels:\n  telegram:\n    accounts:\n"
    + "".join(f"      a{number}: {{tokn: 1}}\n" for number in range(5_000)),
    "missing variables": "gateway:\n  admin:\n    allowed_origins:\n" + "      - ${NOWHERE}\n" * 20_000,
    "missing variables in one text": "gateway: {name: '" + "${NOWHERE}" * 40_000 + "'}\n",
    "marks": "gateway:\n  admin:\n    allowed_origins:\n" + f"      - {MARK}\n" * 20_000,
    "wrong types": "gateway:\n  admin:\n    allowed_origins:\n" + "      - [x]\n" * 10_000,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", MANY.values(), ids=list(MANY))
def test_many_faults_take_no_longer_than_few(text: str) -> None:
    """Each of those that are told has its place; the rest are counted."""
    issues = faults(text)
    assert len(issues) <= MOST_FAULTS + 1
    assert all(issue.line is not None for issue in issues[:MOST_FAULTS])
    if len(issues) > MOST_FAULTS:
        assert "more faults" in issues[-1].message


def test_a_fault_is_told_in_a_line_however_long_the_key_is() -> None:
    (issue,) = faults(f"? {'k' * 500_000}\n: 1\n")
    assert len(str(issue)) < 1_000
    assert (issue.line, issue.column) == (1, 3)
