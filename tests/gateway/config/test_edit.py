"""Changes to the text of a config: what is not changed stays as its author wrote it."""

from __future__ import annotations

from collections.abc import Collection
from textwrap import dedent
from typing import Any

import pytest

from gateway.config.edit import Edit, merge_patch, parse_patch, redacted_text, replacement, secret_paths
from gateway.config.file import parse
from gateway.errors import ConfigError
from gateway.redact import MARK, Redactor
from tests.gateway.configs import HEAD, config, revision, telegram

TEXT = """\
# The head of the file.

gateway:
  name: "home"          # in double quotes
  admin:
    port: 0x1F          # in hexadecimal
    token: 'the-admin-token'


channels:
  telegram:
    accounts:
      # the important one
      main:
        token: ${TELEGRAM_TOKEN}   # from the environment
        allow_from: ["@me", 12]    # who may
      spare: {token: 'spare-token', enabled: no}   # in one line
handlers: {echo: {type: echo}}
routes:
- channel: telegram       # first
  handler: echo
- handler: echo           # and the rest, in a line that is so long that a tool which folds at eighty columns would fold it
# The end.
"""


def edited(edit: Edit, text: str = TEXT) -> str:
    return edit(text.encode()).decode()


def patched(patch: dict[str, Any], text: str = TEXT, replace_paths: Collection[str] | None = None) -> str:
    return edited(merge_patch(patch, replace_paths), text)


def issues(edit: Edit, text: str = TEXT) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        edited(edit, text)
    return [(issue.path, issue.message) for issue in caught.value.issues]


# A merge patch


def test_a_patch_that_changes_nothing_changes_no_byte() -> None:
    for patch in ({}, {"gateway": {"name": "home", "admin": {"port": 31}}}, {"routes": parse(TEXT.encode())["routes"]}):
        assert patched(patch) == TEXT


@pytest.mark.parametrize(
    ("patch", "old", "new"),
    [
        ({"gateway": {"name": "away"}}, 'name: "home"          #', 'name: "away"          #'),
        ({"gateway": {"admin": {"port": 5}}}, "port: 0x1F          #", "port: 5          #"),
        (
            {"channels": {"telegram": {"accounts": {"spare": {"enabled": True}}}}},
            "{token: 'spare-token', enabled: no}",
            "{token: 'spare-token', enabled: true}",
        ),
        (
            {"channels": {"telegram": {"accounts": {"main": {"allow_from": ["@me", 12, "@you"]}}}}},
            '["@me", 12]    #',
            '["@me", 12, "@you"]    #',
        ),
    ],
)
def test_a_patch_changes_what_it_names_and_keeps_all_else(patch: dict[str, Any], old: str, new: str) -> None:
    found = patched(patch)
    changed = [(a, b) for a, b in zip(TEXT.splitlines(), found.splitlines(), strict=True) if a != b]
    assert changed == [(changed[0][0], changed[0][0].replace(old, new))]
    assert found == TEXT.replace(old, new)


def test_a_patch_adds_at_the_end_of_its_mapping() -> None:
    account = {"token": "new-token", "allow_from": ["*"]}
    found = patched({"channels": {"telegram": {"accounts": {"new": account}}}})
    assert parse(found.encode())["channels"]["telegram"]["accounts"]["new"] == account
    assert list(parse(found.encode())["channels"]["telegram"]["accounts"]) == ["main", "spare", "new"]
    assert [line for line in TEXT.splitlines() if line not in found.splitlines()] == []


def test_null_deletes_and_what_is_not_there_is_not_missed() -> None:
    found = patched(
        {"gateway": {"name": None, "nothing": None}, "channels": {"telegram": {"accounts": {"main": None}}}}
    )
    data = parse(found.encode())
    assert "name" not in data["gateway"]
    assert data["gateway"]["admin"]["port"] == 31
    assert list(data["channels"]["telegram"]["accounts"]) == ["spare"]
    assert "# The head of the file." in found
    assert "# in one line" in found


def test_a_mapping_takes_the_place_of_what_is_none() -> None:
    found = patched({"gateway": {"name": {"a": {"b": 1, "c": None}}}})
    assert parse(found.encode())["gateway"]["name"] == {"a": {"b": 1}}


def test_what_is_no_mapping_takes_the_place_of_one() -> None:
    assert parse(patched({"gateway": "nothing"}).encode())["gateway"] == "nothing"


PLACE = "channels.telegram.accounts.main.allow_from"


def allow(*names: object) -> dict[str, Any]:
    return {"channels": {"telegram": {"accounts": {"main": {"allow_from": list(names)}}}}}


def test_case_55_a_list_loses_entries_only_where_its_path_is_named() -> None:
    ((path, message),) = issues(merge_patch(allow("@me"), []))
    assert path == PLACE
    assert "replacePaths" in message
    assert issues(merge_patch(allow(), ["routes"]))[0][0] == PLACE
    for none in ("none", 5):
        assert issues(merge_patch({"routes": none}, [PLACE]))[0][0] == "routes"
    for names in (["@me"], []):
        found = parse(patched(allow(*names), replace_paths=[PLACE]).encode())
        assert found["channels"]["telegram"]["accounts"]["main"]["allow_from"] == names


def test_case_55_a_mapping_in_the_place_of_a_list_takes_its_entries_too() -> None:
    assert issues(merge_patch({"routes": {}}, []))[0][0] == "routes"
    assert parse(patched({"routes": {}}, replace_paths=["routes"]).encode())["routes"] == {}


def test_a_list_that_only_grows_or_is_sorted_needs_no_name() -> None:
    for names in (["@me", 12, "@you"], [12, "@me"], ["@me", 12]):
        found = parse(patched(allow(*names), replace_paths=[]).encode())
        assert found["channels"]["telegram"]["accounts"]["main"]["allow_from"] == names


def test_over_http_a_list_is_replaced_as_the_standard_says() -> None:
    found = parse(patched(allow("@you"), replace_paths=None).encode())
    assert found["channels"]["telegram"]["accounts"]["main"]["allow_from"] == ["@you"]


def test_removing_the_whole_list_by_null_is_plain_enough() -> None:
    assert "allow_from" not in patched(
        {"channels": {"telegram": {"accounts": {"main": {"allow_from": None}}}}}, replace_paths=[]
    )


@pytest.mark.parametrize(
    "text",
    [
        "a:\n    b:\n        c: 1\n    d:\n        - e: 1\n          f: 2\n        - g\n",
        "a:\n  b:\n    c: 1\n  d:\n  - e: 1\n    f: 2\n  - g\n",
        "a:\n  b:\n    c: 1\n  d:\n    - e: 1\n      f: 2\n    - g\n",
        "a: {b: {c: 1}, d: [{e: 1, f: 2}, g]}\n",
        '{"a": {"b": {"c": 1}, "d": [{"e": 1, "f": 2}, "g"]}}\n',
    ],
    ids=["four spaces", "lists not indented", "lists indented", "in one line", "JSON"],
)
def test_the_authors_way_of_indenting_is_kept(text: str) -> None:
    assert patched({"a": {"b": {"c": 2}}}, text) == text.replace("c: 1", "c: 2").replace('"c": 1', '"c": 2')


def test_a_patch_of_an_empty_file_is_refused_since_it_would_be_all_that_is_left() -> None:
    with pytest.raises(ConfigError, match="mend or replace it first"):
        merge_patch({"gateway": {"name": "home"}})(b"")


def test_a_patch_must_be_a_mapping() -> None:
    patches: list[Any] = [[], "text", 5, None]
    for patch in patches:
        with pytest.raises(ConfigError, match="a patch must be a mapping"):
            merge_patch(patch)


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2\n", "\udcff"], ids=["cut off", "a key twice", "not UTF-8"])
def test_a_file_that_is_not_valid_cannot_be_patched(text: str) -> None:
    with pytest.raises(ConfigError, match="mend or replace it first"):
        merge_patch({"a": 1})(text.encode(errors="surrogateescape"))


def test_a_file_that_is_no_mapping_cannot_be_patched() -> None:
    for text in ("- a\n", "text\n"):
        with pytest.raises(ConfigError):
            merge_patch({"a": 1})(text.encode())


def test_a_patch_comes_as_yaml_json_or_json5() -> None:
    wanted = {"gateway": {"name": "home", "admin": {"port": 1}}}
    for text in (
        "gateway: {name: home, admin: {port: 1}}",
        '{"gateway": {"name": "home", "admin": {"port": 1}}}',
        "{gateway: {name: 'home', /* why */ admin: {port: 0x1,},},} // done",
        "// first\n{gateway: {name: 'home', admin: {port: +1}}}",
    ):
        assert parse_patch(text) == wanted
    for text in ("{gateway: [}", "a: b: c"):
        with pytest.raises(ConfigError, match="not YAML"):
            parse_patch(text)


# A replacement


def test_a_replacement_is_taken_as_it_is() -> None:
    for text in ("gateway: {name: x} # mine\n", '{"gateway": {"name": "x"}}', "a: 1"):
        assert edited(replacement(text)) == text


def test_json5_is_written_as_json() -> None:
    found = edited(replacement("{gateway: {name: 'häuschen', admin: {port: 1,},},} // mine"))
    assert found == '{\n  "gateway": {\n    "name": "häuschen",\n    "admin": {\n      "port": 1\n    }\n  }\n}\n'


def test_what_is_neither_is_refused() -> None:
    for text in ("{gateway: [}", "a: b: c", "", "- a"):
        with pytest.raises(ConfigError):
            edited(replacement(text))


@pytest.mark.parametrize(
    "text", ["gateway: {name: '\ud800'}", '{gateway: {name: "\ud800",}}', '// \n{gateway: {name: "\\ud800"}}']
)
def test_half_a_character_is_a_fault_and_no_crash(text: str) -> None:
    """JSON can say it, UTF-8 cannot."""
    for edit in (replacement, lambda text: merge_patch(parse_patch(text))):
        with pytest.raises(ConfigError):
            revision(edit(text)(b"{}"))


# Secrets, out and back in


SECRETS = [
    ("token: 'a-literal-token'", f'token: "{MARK}"'),
    ("token: a-literal-token", f'token: "{MARK}"'),
    ('token: "a-literal-\\u0074oken"', f'token: "{MARK}"'),
    ("token: &t !!str 'a-literal-token'", f'token: &t !!str "{MARK}"'),
    ("token: '${TELEGRAM_TOKEN}'", "token: '${TELEGRAM_TOKEN}'"),
    ("token: '${PORT}${TELEGRAM_TOKEN}'", "token: '${PORT}${TELEGRAM_TOKEN}'"),
    ("token: 'literal-${TELEGRAM_TOKEN}'", f'token: "{MARK}"'),
    ("token: '$${TELEGRAM_TOKEN}'", f'token: "{MARK}"'),
    ("token: {file: token}", "token: {file: token}"),
]


def redacted(text: str, folder: Any) -> str:
    found = revision(text, folder)
    return redacted_text(found.raw, found.config, Redactor())


@pytest.fixture
def folder(tmp_path: Any) -> Any:
    (tmp_path / "token").write_text("a-token-in-a-file")
    return tmp_path


@pytest.mark.parametrize(("source", "shown"), SECRETS)
def test_literal_secrets_are_hidden_and_references_are_not(source: str, shown: str, folder: Any) -> None:
    text = telegram(main=f"{source}, poll_timeout_s: 3", other="enabled: false, token: '${TELEGRAM_TOKEN}'")
    found = redacted(text, folder)
    assert found == text.replace(source, shown).replace("token: the-admin-token", f'token: "{MARK}"')
    parse(found.encode())


@pytest.mark.parametrize(("source", "shown"), SECRETS)
def test_case_60_a_text_that_was_shown_can_be_sent_back(source: str, shown: str, folder: Any) -> None:
    """What comes back as a mark is put back as it was written."""
    text = telegram(main=f"{source}, poll_timeout_s: 3", other="enabled: false, token: '${TELEGRAM_TOKEN}'")
    changed = redacted(text, folder).replace("poll_timeout_s: 3", "poll_timeout_s: 7")
    assert edited(replacement(changed), text) == text.replace("poll_timeout_s: 3", "poll_timeout_s: 7")


BLOCK = HEAD + dedent("""\
    channels:
      telegram:
        accounts:
          main:
            token: |-
              a-literal-token
            poll_timeout_s: 3
          other:
            poll_timeout_s: 4
            token: >-
              another-
              token
    """)
ANCHORS = HEAD + dedent("""\
    channels:
      telegram:
        accounts:
          main: &main
            enabled: false
            token: &token a-literal-token-that-is-long
            poll_timeout_s: 3
          other: {token: *token, enabled: false, poll_timeout_s: 4}
          third: *main
          fourth: {<<: *main, poll_timeout_s: 5}
    """)


@pytest.mark.parametrize(
    "text", [BLOCK, ANCHORS, "\ufeff" + ANCHORS, "# 😀\n" + BLOCK], ids=["blocks", "anchors", "BOM", "wide"]
)
def test_secrets_in_every_form_of_yaml(text: str, folder: Any) -> None:
    found = redacted(text, folder)
    assert "token-that" not in found
    assert "a-literal" not in found
    assert "another-" not in found
    shown = parse(found.encode())["channels"]["telegram"]["accounts"]
    assert {account["token"] for account in shown.values()} == {MARK}
    assert [account["poll_timeout_s"] for account in shown.values()] == ([3, 4] if len(shown) == 2 else [3, 4, 3, 5]), (
        "and nothing else is lost"
    )
    back = edited(replacement(found), text)
    assert config(back, folder) == config(text, folder)


def test_the_redactor_hides_what_stands_elsewhere() -> None:
    text = telegram(main="token: a-literal-token") + "# a-literal-token is the token of main\n"
    redactor = Redactor()
    redactor.learn(["a-literal-token"])
    assert "a-literal-token" not in redacted_text(text.encode(), config(text), redactor)


def test_a_mark_in_a_patch_keeps_the_secret() -> None:
    patch = {
        "channels": {"telegram": {"accounts": {"main": {"token": MARK, "enabled": False}, "spare": {"token": MARK}}}}
    }
    found = patched(patch)
    assert "token: ${TELEGRAM_TOKEN}" in found
    assert "'spare-token'" in found
    assert MARK not in found


def test_a_mark_where_there_was_no_secret_stays_and_is_refused_by_the_reader() -> None:
    found = patched({"channels": {"telegram": {"accounts": {"new": {"token": MARK}}}}})
    assert parse(found.encode())["channels"]["telegram"]["accounts"]["new"]["token"] == MARK
    with pytest.raises(ConfigError, match="redaction mark"):
        config(found)


def test_a_mark_over_a_file_that_cannot_be_read_stays() -> None:
    text = f"gateway: {{admin: {{token: {MARK}}}}}\n"
    for broken in ("a: [", "", "- a"):
        assert edited(replacement(text), broken) == text


@pytest.mark.parametrize(
    ("source", "text", "wanted"),
    [
        ("token: a, b", f"{{token: {MARK}}}\n", '{token: "a, b"}\n'),
        ("token: |\n  a\n  b\n", f"x:\n  token: {MARK}\n", None),
        ("token: |\n  a\n  b\n", f"{{token: {MARK}}}\n", '{token: "a\\nb\\n"}\n'),
        ("token: 'a'", f"\ufefftoken: {MARK}\n", "\ufefftoken: 'a'\n"),
        ("\ufefftoken: 'a'", f"token: {MARK}\n", "token: 'a'\n"),
    ],
)
def test_a_secret_says_the_same_where_its_source_form_would_not(source: str, text: str, wanted: str | None) -> None:
    assert edited(replacement(text), source) == (wanted or text), "a mark elsewhere stays"


def test_where_the_secrets_are() -> None:
    text = telegram(main="token: a-token", **{"a.b": "token: '${TELEGRAM_TOKEN}'"})
    assert secret_paths(config(text)) == [
        "gateway.admin.token",
        "channels.telegram.accounts.main.token",
        "channels.telegram.accounts.a.b.token",
    ]
