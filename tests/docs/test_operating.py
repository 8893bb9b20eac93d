"""docs/operating: backup, restore and the rest are done as the page says, beside a gateway in folders of the test."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ruamel.yaml import YAML

from gateway.cli.exits import EXIT_CONFIG, EXIT_FAILED, EXIT_HELD, EXIT_OK, EXIT_USAGE
from tests.docs.pages import Page
from tests.docs.shell import ADDRESS, Here, shell, starter_text
from tests.real.process import ROOT, Gateway

OPERATING = ROOT / "docs" / "operating"
NEW_CODE = ("git -C /opt/gateway ", "/opt/gateway/.venv/bin/python -m pip install ")
"""What brings new code there. That it is taken up is held by the tests of exec; that it installs, by that of the README."""


async def test_the_commands_of_the_page(tmp_path: Path) -> None:
    folders = [tmp_path / "etc" / "gateway", tmp_path / "var" / "lib" / "gateway", tmp_path / "var" / "backups"]
    for folder in folders:
        folder.mkdir(parents=True, mode=0o700)
    config, state = folders[0] / "gateway.yaml", folders[1]
    config.write_text(starter_text())
    places = {"GATEWAY_CONFIG": str(config), "GATEWAY_STATE_DIR": str(state)}
    with Page("docs/operating/README.md") as page:
        _are_units(page.take("console").text)
        async with At(tmp_path, None, command=None, **places) as gateway:
            await gateway.send("kept")
            await shell(_there(page.take("console").text, tmp_path), tmp_path, **places)
            await gateway.send("later")
            await _restore(page.take("console").text, gateway)
            assert await gateway.sent() == ["kept"]
            await shell(_there(page.take("console").text, tmp_path), tmp_path, **places)
            await gateway.ready(3)
            await _run_a_second(page, tmp_path)
            _is_for_prometheus(page.take("yaml").text)
            _is_tried_with_a_collector(page.take("console").text)
            await shell(page.take("console"), tmp_path, **places)


def _is_for_prometheus(text: str) -> None:
    """Its rules are the file beside the page, and it asks where a gateway listens."""
    config = YAML(typ="safe").load(text)
    assert config["rule_files"] == ["/etc/prometheus/gateway-alerts.yaml"]
    assert (OPERATING / "alerts.yaml").exists()
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": [ADDRESS.removeprefix("http://")]}]


def _is_tried_with_a_collector(text: str) -> None:
    """By tests/real/test_traces.py, which takes the block that says where the collector is."""
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in text


async def _run_a_second(page: Page, folder: Path) -> None:
    """Beside the first, as the page says it, but for its port."""
    page.write(folder, "second.yaml")
    config = folder / "second.yaml"
    config.write_text(config.read_text().replace("port: 18791", "port: 0"))
    command = page.take("console").text.replace("python", sys.executable, 1).split()
    async with Gateway(folder, None, command=command):
        assert "second is running" in await shell(page.take("console"), folder)


class At(Here):
    """A gateway whose state folder is where the page has it."""

    async def start(self) -> None:
        await Gateway.start(self)
        self.token = (self.folder / "var" / "lib" / "gateway" / "admin-token").read_text().strip()

    async def send(self, text: str) -> None:
        body = {"channel": "webchat", "account": "default", "to": "main", "text": text, "idempotency_key": text}
        assert (await self.http("POST", "/api/v1/send", json=body))[0] == 202

    async def sent(self) -> list[str]:
        _, body = await self.http("GET", "/api/v1/outbox?state=sent")
        return [row["text"] for row in body["deliveries"]]


def _there(text: str, folder: Path) -> str:
    """The lines of a block, in the folders of the test."""
    lines = [line for line in text.splitlines() if not line.startswith(NEW_CODE)]
    text = "\n".join(lines).replace("/opt/gateway/.venv/bin/python", sys.executable)
    return re.sub(r"(?<![\w/])/(?=etc/gateway|var/)", f"{folder}/", text).replace("tar -C /", f"tar -C {folder}")


def _are_units(text: str) -> None:
    """systemd is not here; its words are, and the units are those beside the page (held by systemd-analyze elsewhere)."""
    for line in text.splitlines():
        verb, *rest = line.removeprefix("systemctl ").split()
        assert verb in ("daemon-reload", "enable", "reload", "start", "stop"), line
        assert all((OPERATING / unit).exists() for unit in rest if not unit.startswith("-")), line


async def _restore(text: str, gateway: At) -> None:
    """systemctl's part is done to the process of the test."""
    first, *between, last = text.splitlines()
    assert (first, last) == ("systemctl stop gateway.service", "systemctl start gateway.service")
    assert await gateway.stop() == 0
    await shell(_there("\n".join(between), gateway.folder), gateway.folder)
    await gateway.start()


def test_every_alert_is_explained() -> None:
    page = Page("docs/operating/README.md")
    alerts = re.findall(r"alert: (\w+)", (OPERATING / "alerts.yaml").read_text())
    assert re.findall(r"^\| `(Gateway\w+)` \|", page.text, re.MULTILINE) == alerts


def test_every_exit_code_is_explained() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", Page("docs/operating/README.md").text, re.MULTILINE)}
    assert codes == {EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_HELD, EXIT_CONFIG, 75}
