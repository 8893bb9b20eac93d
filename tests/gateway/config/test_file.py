"""The file is read: what it holds, with what is wrong at its line."""

from __future__ import annotations

import os
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config.file import MAX_BYTES, MISSING, MOST_READ, read, revision_of
from gateway.config.places import scalars
from gateway.errors import ConfigError, Issue
from gateway.redact import MARK
from tests.gateway.configs import HEAD, config, faults, reader, revision, telegram

SECRET, OTHER = "first-secret", "second-secret"


def test_a_revision_is_the_hash_of_the_bytes() -> None:
    one, two = revision("gateway: {name: a}\n"), revision("gateway: {name: a} # the same in other words\n")
    assert one.id == revision_of(b"gateway: {name: a}\n")
    assert len(one.id) == 64
    assert one.config == two.config
    assert one.id != two.id


FAULTS: dict[str, tuple[str, str, str, int, int]] = {
    # what: the text, then of the fault its path, a part of its message, its line and its column
    "unknown at the top": ("gatway: {}\n", "gatway", "unknown key 'gatway'; did you mean 'gateway'?", 1, 1),
    "unknown below": (
        "gateway:\n  admin:\n    prot: 1\n", "gateway.admin.prot", "unknown key 'prot'; did you mean 'port'?", 3, 5,
    ),
    "unknown in an account": (
        telegram(main="token: x, pol_timeout_s: 3"),
        "channels.telegram.accounts.main.pol_timeout_s", "did you mean 'poll_timeout_s'?", 10, 24,
    ),
    "unknown network": ("channels:\n  telegrm: {}\n", "channels.telegrm", "did you mean 'telegram'?", 2, 3),
    "unknown in a list": (
        "handlers: {echo: {type: echo}}\nroutes:\n  - {handler: echo, chanel: x}\n",
        "routes.0.chanel", "unknown key 'chanel'; did you mean 'channel'?", 3, 21,
    ),
    "unknown and like nothing": ("gateway: {xyzzy: 1}\n", "gateway.xyzzy", "unknown key 'xyzzy'", 1, 11),
    "missing": (telegram(main="enabled: true"), "channels.telegram.accounts.main.token", "this key is required", 10, 7),
    "missing in a list": (HEAD + "  - {channel: x}\n", "routes.1.handler", "this key is required", 7, 5),
    "a text for a number": ("gateway:\n  admin:\n    port: many\n", "gateway.admin.port", "Expected int", 3, 5),
    "too large": ("gateway:\n  admin:\n    port: 70000\n", "gateway.admin.port", "<= 65535", 3, 5),
    "too small": ("store: {keep_days: 0}\n", "store.keep_days", ">= 1", 1, 9),
    "none of the words": ("gateway: {reload: {mode: fast}}\n", "gateway.reload.mode", "one of hybrid, off", 1, 20),
    "empty for a mapping": ("gateway:\nstore: {}\n", "gateway", "must be a mapping, and is empty", 1, 1),
    "a list for a mapping": ("handlers: [a]\n", "handlers", "must be a mapping, and is a list", 1, 1),
    "a mapping for a list": ("routes: {a: b}\n", "routes", "must be a list, and is a mapping", 1, 1),
    "a text for a list": (
        telegram(main="token: x, allow_from: me"), "channels.telegram.accounts.main.allow_from", "got str", 10, 24,
    ),
    "a bad name": (telegram(**{"ma/in": "token: x"}), "channels.telegram.accounts.ma/in", "regex", 10, 7),
    "a name that ends its line": (
        'channels:\n  webchat:\n    accounts:\n      "main\\n": {}\n', "channels.webchat.accounts.main\n", "regex", 4, 7,
    ),
    "a number for a name": (
        "channels:\n  webchat:\n    accounts:\n      1: {}\n", "channels.webchat.accounts.1", "Expected str", 4, 7,
    ),
    "no such handler": (
        HEAD.replace("handler: echo", "handler: eco"), "routes.0.handler", "no handler named 'eco' (echo)", 6, 20,
    ),
    "a bad pattern": (
        HEAD.replace("handler: echo", "handler: echo, match: '('"), "routes.0", "not a regular expression", 6, 5,
    ),
    "no such variable": (telegram(main="token: '${NOPE}'"), "channels.telegram.accounts.main.token", "no NOPE", 10, 14),
    "no such variable in a list": (
        "gateway:\n  admin:\n    allowed_origins:\n      - http://a\n      - http://${NOPE}\n",
        "gateway.admin.allowed_origins.1", "no NOPE", 5, 9,
    ),
    "a mark": (
        telegram(main=f"token: {MARK}"), "channels.telegram.accounts.main.token", "a redaction mark, not a secret", 10, 14,
    ),
    "a mark within": ("gateway:\n  name: the-__REDACTED__-one\n", "gateway.name", "a redaction mark", 2, 3),
    "a number for a secret": (telegram(main="token: 5"), "channels.telegram.accounts.main.token", "a secret is", 10, 14),
    "no such secret file": (
        telegram(main="token: {file: nope}"), "channels.telegram.accounts.main.token", "cannot be read", 10, 14,
    ),
    "not YAML": ("gateway:\n  name: [a\nstore: {}\n", "", "not YAML", 3, 6),
    "a tab": ("gateway:\n\tname: a\n", "", "cannot start any token", 2, 1),
    "two documents": ("{}\n---\n{}\n", "", "another document", 2, 1),
    "no such anchor": ("gateway: {name: *x}\n", "", "undefined alias", 1, 17),
    "a foreign tag": ("gateway: !!python/object:os.system {a: b}\n", "", "could not determine a constructor", 1, 10),
    "a key twice": (
        "gateway:\n  name: a\n  name: b\n", "", 'found duplicate key "name"', 3, 3,
    ),
    "carriage returns": ("gateway:\r\n  nme: x\r\n", "gateway.nme", "did you mean 'name'?", 2, 3),
    "behind a BOM": ("\ufeffgateway: {nme: x}\n", "gateway.nme", "did you mean 'name'?", 1, 11),
    "behind what is wide": ("gateway: {name: '😀', nme: x}\n", "gateway.nme", "did you mean 'name'?", 1, 22),
}  # fmt: skip


@pytest.mark.parametrize(("text", "path", "message", "line", "column"), FAULTS.values(), ids=list(FAULTS))
def test_every_fault_has_its_place_and_says_how_to_mend_it(
    text: str, path: str, message: str, line: int, column: int
) -> None:
    (fault,) = faults(text)
    assert (fault.path, fault.line, fault.column) == (path, line, column)
    assert message in fault.message
    place = f"{path or 'config'} (line {line}, column {column}): "
    assert str(fault).startswith(place)


WHOLE: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "it is empty; a config that wants nothing says so with {}"),
    "only a comment": ("# to be done\n", "it is empty"),
    "a list": ("- a\n", "it must be a mapping, and is a list"),
    "a text": ("hello\n", "it must be a mapping, and is a str"),
    "too long": (b"#" + b"x" * MAX_BYTES, f"at most {MAX_BYTES:,}"),
    "nested too deeply": ("{a: " * 3_000 + "1" + "}" * 3_000, "nested too deeply"),
    "nested in itself": ("gateway: &a {name: *a}\n", "nested in itself"),
}


@pytest.mark.parametrize(("text", "message"), WHOLE.values(), ids=list(WHOLE))
def test_a_fault_of_the_whole_file(text: str | bytes, message: str) -> None:
    (fault,) = faults(text)
    assert message in fault.message
    assert fault.path == ""


@pytest.mark.parametrize(
    ("raw", "message", "line"),
    [
        (b"gateway: {}\nstore: {a: '\xff'}\n", "not UTF-8", 2),
        ("gateway: {}\n".encode("utf-16"), "not UTF-8", 1),
        (b"gateway: {}\n\n\0\0\0\0", "NUL byte", 3),
    ],
    ids=["latin 1", "UTF-16", "NUL"],
)
def test_what_is_no_text_says_where(raw: bytes, message: str, line: int) -> None:
    (fault,) = faults(raw)
    assert message in fault.message
    assert (fault.line, fault.column) == (line, 1)


def test_a_file_of_the_greatest_size_is_read() -> None:
    text = b"gateway: {name: x}\n#"
    assert revision(text + b"x" * (MAX_BYTES - len(text))).config.gateway.name == "x"


def test_all_faults_are_told_at_once_and_the_revision_with_them() -> None:
    text = "gateway:\n  nme: x\n  admin: {port: -1, token: '${NOPE}'}\nstore: {keep_days: 0}\n"
    with pytest.raises(ConfigError) as caught:
        revision(text)
    places = {(issue.path, issue.line) for issue in caught.value.issues}
    assert places == {("gateway.nme", 2), ("gateway.admin.port", 3), ("gateway.admin.token", 3), ("store.keep_days", 4)}
    assert caught.value.revision == revision_of(text.encode())
    for part in ("gateway.nme (line 2, column 3)", "store.keep_days"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        telegram(main=f"token: {SECRET}, token: {OTHER}"),
        f"gateway:\n  admin:\n    token: {SECRET}\n    token: {OTHER}\n",
        f'gateway:\n  admin:\n    token: |\n      {SECRET}" with value\n    token: {OTHER}\n',
        f"gateway: {{admin: {{token: !!int {SECRET}}}}}\n",
        f"gateway: {{admin: {{token: !!float {SECRET}}}}}\n",
        f"gateway: {{admin: {{port: {SECRET}}}}}\n",
        f"gateway: {{admin: {{token: [{SECRET}]}}}}\n",
        f"gateway: {{admin: {{token: {{value: {SECRET}}}}}}}\n",
        f"gateway: {{reload: {{mode: {SECRET}}}}}\n",
        f"gateway: {{admin: {{token: {SECRET}, port: [}}}}\n",
    ],
)
def test_no_fault_shows_a_value(text: str) -> None:
    shown = "".join(map(str, faults(text)))
    assert SECRET not in shown
    assert OTHER not in shown


def test_values_are_read_as_they_are_written() -> None:
    found = config("gateway: {name: 'no', admin: {port: '8080'}, reload: {debounce_ms: 0x10}}\n")
    assert (found.gateway.name, found.gateway.admin.port, found.gateway.reload.debounce_ms) == ("no", 8080, 16)
    with pytest.raises(ConfigError):
        config("gateway: {name: 5}\n")
    with pytest.raises(ConfigError):
        config(telegram(main="token: x, enabled: 'perhaps'"))


def test_json_is_yaml() -> None:
    assert config('{"gateway": {"name": "home", "admin": {"port": 1}}}').gateway.name == "home"


def test_a_bom_is_no_fault() -> None:
    assert config(b"\xef\xbb\xbfgateway: {name: home}\n").gateway.name == "home"


def test_environment_and_secret_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("1002:from-a-file\n")
    text = telegram(main="token: '${TELEGRAM_TOKEN}'", spare="token: {file: token}") + "store: {keep_days: '${PORT}'}\n"
    found = config(text, tmp_path)
    tokens = [account.token.reveal() for account in found.accounts().values()]  # type: ignore[attr-defined]
    assert tokens == ["1001:from-the-environment", "1002:from-a-file"]
    assert found.store.keep_days == 8080


def test_a_dollar_twice_is_a_literal() -> None:
    assert config("gateway: {name: 'a$${PORT}-${PORT}-$${X}'}\n").gateway.name == "a${PORT}-8080-${X}"
    assert config("gateway: {name: '$PORT $$ ${} ${1A}'}\n").gateway.name == "$PORT $$ ${} ${1A}"


def test_what_came_from_the_environment_is_not_looked_at_again() -> None:
    environ = {"A": "${B}", "B": "no"}
    found = reader(environ=environ).load(b"gateway: {name: '${A}'}\n")
    assert found.config.gateway.name == "${B}"


def test_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file") as caught:
        read(tmp_path / "gateway.yaml")
    assert caught.value.revision == MISSING


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (Path.mkdir, "it is a folder; name the file in it"),
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    ],
    ids=["a folder", "a pipe", "a device", "a link to itself"],
)
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Callable[[Path], Any], what: str) -> None:
    """At once: a pipe would be waited for, and a device has no end."""
    path = tmp_path / "gateway.yaml"
    make(path)
    with pytest.raises(ConfigError, match=f"gateway.yaml cannot be read: {what}") as caught:
        read(path)
    assert caught.value.revision == MISSING


def test_a_file_that_is_far_too_large_is_not_taken_in(tmp_path: Path) -> None:
    """It is known by its bytes, like any other, and only a piece of it is in memory at a time."""
    path = tmp_path / "gateway.yaml"
    with path.open("wb") as file:
        file.truncate(MOST_READ + 1)
    tracemalloc.start()
    try:
        with pytest.raises(
            ConfigError, match=f"is {MOST_READ + 1:,} bytes long; a config has at most {MAX_BYTES:,}"
        ) as caught:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < MOST_READ / 4
    finally:
        tracemalloc.stop()
    assert caught.value.revision == revision_of(bytes(MOST_READ + 1))


class Torn:
    """Somebody writes the file while it is read: after the n-th look at it another piece has come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, *pieces: bytes) -> None:
        self._path = path
        self._pieces = list(pieces)
        self._fstat = os.fstat
        self.looks = 0
        path.write_bytes(b"")
        monkeypatch.setattr(os, "fstat", self._look)

    def _look(self, descriptor: int) -> os.stat_result:
        self.looks += 1
        found = self._fstat(descriptor)
        if self._pieces and stat.S_ISREG(found.st_mode):
            with self._path.open("ab") as file:
                file.write(self._pieces.pop(0))
        return found


def test_case_56_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gateway.yaml"
    torn = Torn(monkeypatch, path, b"gateway: {", b"name: ", b"whole", b"}")
    assert read(path) == b"gateway: {name: whole}"
    assert torn.looks > 4


def test_case_56_a_file_that_is_cut_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an editor begins that writes in place: nothing is left of it for a moment, with the time of the beginning."""
    path = tmp_path / "gateway.yaml"
    path.write_bytes(b"gateway: {name: old}")
    fstat, cuts = os.fstat, [b"", b"gateway: {name: new}"]

    def cut(descriptor: int) -> os.stat_result:
        found = fstat(descriptor)
        if cuts:
            path.write_bytes(cuts.pop(0))
        return found

    monkeypatch.setattr(os, "fstat", cut)
    assert read(path) == b"gateway: {name: new}"


def test_case_56_a_file_that_never_comes_to_rest_is_not_taken_for_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gateway.yaml"
    Torn(monkeypatch, path, *[b"# more\n"] * 1000)
    with pytest.raises(
        ConfigError, match="cannot be read: it changes all the while; save it again when its writer has ended"
    ) as caught:
        read(path)
    assert caught.value.revision == MISSING


def test_scalars_and_where_they_stand() -> None:
    text = "a: 'x y' # c\nb:\n  - &k one\n  - |-\n    two\nc: *k\n"
    found = scalars(text.encode())
    assert {path: value for path, (_, _, value) in found.items()} == {
        "a": "x y",
        "b.0": "one",
        "b.1": "two",
        "c": "one",
    }
    assert {path: text[begin:end] for path, (begin, end, _) in found.items()} == {
        "a": "'x y'", "b.0": "one", "b.1": "|-\n    two", "c": "one",
    }  # fmt: skip


def test_an_issue_without_a_place() -> None:
    assert str(Issue("", "it is empty")) == "config: it is empty"
