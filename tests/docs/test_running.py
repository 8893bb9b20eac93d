"""The pages on running, changing and the machines: their commands are run beside one gateway, in their order."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from statemachine import MACHINES, Channel
from tests.docs.pages import Page
from tests.docs.shell import Here, shell, starter_text
from tests.real.process import ROOT, Gateway

FIRST_RUN = "make run\ncat .gateway/admin-token\n"
ACTIVATE = ". .venv/bin/activate\n"
"""Done as they stand by the test of the README; here there is no environment to make."""


async def test_the_commands_of_three_pages(tmp_path: Path) -> None:
    async with Here(tmp_path, starter_text()) as gateway:
        with Page("docs/running.md") as page:
            await _run_it(page, gateway)
        with Page("docs/changes.md") as page:
            await _change_it(page, gateway)
        with Page("docs/machines.md") as page:
            await _read_it(page, gateway)


async def _run_it(page: Page, gateway: Gateway) -> None:
    folder, url = gateway.folder, gateway.url
    assert page.take("console").text == FIRST_RUN
    assert f"{url}/#" in await shell(page.take("console"), folder, url)
    block = page.take("console").text
    assert block.startswith(ACTIVATE)
    asked = await shell(block.removeprefix(ACTIVATE), folder, url)
    for said in ("webchat/default  running", "generation 2", "stateDiagram-v2", '"ok": true'):
        assert said in asked
    assert "gateway.admin.port" in await shell(page.take("console"), folder, url)
    assert "webchat/default/main" in await shell(page.take("console"), folder, url)
    webhook = folder / "webhook.yaml"
    webhook.write_text(page.take("yaml").text)
    await shell("python -m gateway check --config webhook.yaml", folder, url, TELEGRAM_TOKEN="1:a-token")
    await shell(page.take("console"), folder, url)
    await gateway.ready(2)


async def _change_it(page: Page, gateway: Gateway) -> None:
    """First by HTTP and a signal, then by the command line, which takes it all back."""
    before = gateway.config.read_text()
    called = await shell(page.take("console"), gateway.folder, gateway.url)
    assert '"state": "running"' in called
    assert '"outcome": "applied"' in called
    assert "name: office" in gateway.config.read_text()
    told = await shell(page.take("console"), gateway.folder, gateway.url)
    assert "as it was" in told
    assert gateway.config.read_text() == before


async def _read_it(page: Page, gateway: Gateway) -> None:
    drawn = await shell(page.take("console"), gateway.folder, gateway.url)
    assert "class RUNNING now" in drawn
    assert "<svg" in (gateway.folder / "channel.svg").read_text()
    assert "webchat/default" in await shell(page.take("console"), gateway.folder, gateway.url)
    newest = (await gateway.journal())[-1]
    for shown in (json.loads(page.take("json").text), json.loads(page.take("json").text)):
        assert list(shown) == [key for key in newest if key != "event"]
        _is_of_the_table(shown)
    assert "webchat/default" in await shell(page.take("console"), gateway.folder, gateway.url)
    await shell(page.take("console"), ROOT)  # of the project itself: that is where its pictures are


def _is_of_the_table(entry: dict[str, object]) -> None:
    """What the page says of an account's entry is what its table says."""
    fits = [number for number, row in enumerate(Channel.table) if _fits(row, entry)]
    assert (entry["row"] in fits) if entry["kind"] == "step" else not fits


def _fits(row: object, entry: dict[str, object]) -> bool:
    assert isinstance(row, type(Channel.table[0]))
    led = (row.dest.value if row.dest else entry["before"]) == entry["after"]
    return row.on.trigger == entry["trigger"] and entry["before"] in [state.value for state in row.sources] and led


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.kind)
def test_each_machine_is_on_the_page_with_its_picture(machine: type) -> None:
    page = Page("docs/machines.md")
    kind, initial = machine.kind, machine.initial.value  # type: ignore[attr-defined]
    assert re.search(rf"^!\[[^\]]+\]\(\.\./diagrams/{kind}\.svg\)$", page.text, re.MULTILINE)
    line = next(line for line in page.text.splitlines() if line.startswith(f"| [{kind}](#{kind})"))
    assert f"| `{initial}` |" in line
    assert kind in page.headings
