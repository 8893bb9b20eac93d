"""docs/config.md: the page is that of the models, has every key once, and what it says can be done."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from gateway.admin.schema import json_schema
from gateway.cli.main import main
from gateway.cli.reference import reference, type_of
from gateway.config.declared import Model
from gateway.config.plan import reload_class
from tests.gateway.admin.test_schema import FIELDS, OF_HANDLERS, SCHEMA, meta_of, told
from tests.gateway.configs import MODEL, revision

PAGE = (Path(__file__).parents[3] / "docs" / "config.md").read_text(encoding="utf-8")
ROWS = {
    cells[0].strip("`"): cells[1:]
    for line in PAGE.splitlines()
    if line.startswith("| `") and len(cells := re.split(r"(?<!\\) \| ", line[2:-2])) == 5
}
"""By the path of the key: type, default, what a change needs, meaning."""


def test_it_is_what_is_made_of_the_models() -> None:
    assert reference(json_schema(MODEL)) + "\n" == PAGE, "run `make reference`"


def test_it_has_every_key_once_and_no_other() -> None:
    assert {path for path in ROWS if not path.startswith(OF_HANDLERS)} == set(FIELDS)
    assert {path for path in ROWS if path.startswith(OF_HANDLERS)} == {
        path for path in told(SCHEMA) if path.startswith(OF_HANDLERS) and not path.endswith("*")
    }
    assert sum(line.startswith("| `") and line.count(" | ") >= 4 for line in PAGE.splitlines()) == len(ROWS)


@pytest.mark.parametrize("path", FIELDS)
def test_a_row_says_what_the_model_says(path: str) -> None:
    field, (kind, default, need, meaning) = FIELDS[path], ROWS[path]
    assert meaning.startswith(str(meta_of(field).description))
    assert (default == "**required**") == field.required
    bare = get_args(field.type)[0]
    if isinstance(bare, type) and issubclass(bare, Model):
        assert (kind[:10], default, need) == ("[section](", "", "")
    else:
        assert need == f"`{reload_class(field).word}`"
        assert default
        assert ("secret" in kind) == path.endswith("token")


def test_its_links_lead_to_its_headings() -> None:
    anchors = {
        re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)", PAGE)
    }
    links = re.findall(r"\]\(#([^)]*)\)", PAGE)
    assert len(set(links)) > 10
    assert set(links) <= anchors


def test_its_example_is_valid() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert list(revision(example).config.accounts()) == ["telegram/main", "webchat/default"]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "minLength": 1, "maxLength": 5}, "text, 1 to 5 characters"),
        ({"type": "string", "pattern": "^a|b"}, "text that matches `^a|b`"),
        ({"type": "integer"}, "integer"),
        ({"type": "integer", "minimum": 0}, "integer, 0 or more"),
        ({"type": "number", "minimum": 0}, "number, 0 or more"),
        ({"type": "array", "items": {"type": "number"}}, "list of numbers"),
        ({"type": "boolean"}, "`true` or `false`"),
        ({"type": "string", "enum": ["a"]}, "`a`"),
        ({"type": "string", "enum": ["a", "b", "c"]}, "`a`, `b` or `c`"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        ({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}, "list of texts or integers"),
        ({"type": "object", "additionalProperties": {"properties": {}}}, "mapping of names to sections"),
        ({"type": "string", "writeOnly": True}, "secret"),
    ],
)
def test_types_in_words(schema: dict[str, Any], words: str) -> None:
    assert type_of(schema) == words


def test_a_bar_does_not_end_a_cell() -> None:
    key = {"type": "string", "pattern": "a|b", "default": "*", "x-reload": "live", "description": "This | that."}
    page = reference({"type": "object", "properties": {"key": key}, "required": []})
    assert r"| `key` | text that matches `a\|b` | `" + r'"*"` | `live` | This \| that. |' in page


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == PAGE


def test_the_command_prints_the_json_schema_for_an_editor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(json_schema(MODEL)))


def test_the_command_tells_of_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "gateway.admin.port"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "gateway.admin.port: integer, 0 to 65535",
        "  The port to listen on; 0 picks a free one.",
        "  A change restarts the gateway.",
        "  Default: 18790",
    ]
    assert main(["schema", "channels.telegram.accounts.main"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["channels.telegram.accounts.main: section", "  One Telegram bot."]
    assert "  channels.telegram.accounts.main.token: The bot's token, from @BotFather." in lines
    assert main(["schema", "routes.0.match", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hintPath"] == "routes.*.match"
    assert main(["schema", "."]) == 0
    assert capsys.readouterr().out.startswith(".: section\n  gateway: ")


def test_a_path_that_is_not_known_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "gateway.admn"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "gateway: the config has no path 'gateway.admn'; the nearest known path is 'gateway.admin'\n"
