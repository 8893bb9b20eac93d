"""The dashboard and the alert rules of docs/operating: every figure that they ask for is one that a gateway has."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from gateway.config.model import Admin
from tests import promql
from tests.fakes.telegram import FakeTelegram
from tests.real.nats_server import NatsServer, was_let_go
from tests.real.process import ROOT, TOKEN, Gateway, RpcError, config_text, telegram_account

OPERATING = ROOT / "docs" / "operating"
SELECTOR = re.compile(r"\b((?:gateway|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)(=~|!=|=)\"([^\"]*)\"")
GROUPED = re.compile(r"\bby \(([^)]*)\)")
SECRET = "1001:a-secret-of-the-dashboard"
ADDED_BY_PROMETHEUS = {"instance", "job"}

Figures = Mapping[str, Mapping[str, set[str]]]
"""By the name of a figure its labels, and the values that they have."""


def rules() -> list[dict[str, Any]]:
    (group,) = YAML(typ="safe").load((OPERATING / "alerts.yaml").read_text())["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return list(json.loads((OPERATING / "dashboard.json").read_text())["panels"])


def expressions() -> dict[str, str]:
    """Each by where it stands."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in rules()}
    for panel in panels():
        found |= {f"panel {panel['title']}, {target['refId']}": target["expr"] for target in panel["targets"]}
    return found


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """What a gateway shows that shares its account, was restarted, has answered a message, and has refused something."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(asyncio.run(scrape(tmp_path_factory.mktemp("figures")))):
        for sample in family.samples:
            labels = found[sample.name]
            for name, value in sample.labels.items():
                labels[name].add(value)
    return found


async def scrape(folder: Path) -> str:
    async with FakeTelegram() as telegram, NatsServer(folder / "nats") as nats:
        bot = telegram.add_bot(SECRET, "main_bot")
        text = config_text(
            telegram_account("main", SECRET, telegram.url), restart="{mode: in_process, delay_ms: 0, cooldown_ms: 0}"
        )
        await was_let_go(nats.url, SECRET, telegram.url)
        (folder / "hello.py").write_text("def answer(message):\n    return 'hello'\n")
        text = text.replace("channels:\n", f"  lease: {{url: {nats.url!r}}}\nchannels:\n", 1)
        text = text.replace("{type: echo}", '{type: python, target: "hello:answer"}')
        async with Gateway(folder, text) as gateway:
            client = await gateway.client()
            await client.request("gateway.restart.request", {"reason": "a figure"})
            await gateway.ready(2)
            await client.close()
            # What is counted begins anew with a new image of the program.
            client = await gateway.client()
            bot.push("hello", 7, user_id=5, username="ann")
            await bot.wait_sent(1, 10)
            with pytest.raises(RpcError, match="cannot start in state running"):
                await client.request("channels.start", {"channel": "telegram", "accountId": "main"})
            await client.close()
            return await asyncio.to_thread(read, f"{gateway.url}/metrics")


def test_the_scrape_that_is_written_down_is_one_of_a_gateway() -> None:
    """It is scraped where a gateway listens unless it is told otherwise, with a token in a file, by the path that is usual."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (OPERATING / "README.md").read_text(), re.DOTALL)
    (job,) = YAML(typ="safe").load(text)["scrape_configs"]
    admin = Admin()
    assert job["static_configs"] == [{"targets": [f"{admin.host}:{admin.port}"]}]
    assert set(job) == {"job_name", "authorization", "static_configs"}


def read(url: str) -> str:
    asked = Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    with urlopen(asked, timeout=10) as answer:
        return str(answer.read(), "utf-8")


@pytest.mark.parametrize("place", expressions())
def test_every_figure_that_is_asked_for_is_there(place: str, figures: Figures) -> None:
    expression = expressions()[place]
    asked = SELECTOR.findall(expression)
    assert asked, "it asks for nothing"
    grouped = {name.strip() for names in GROUPED.findall(expression) for name in names.split(",")}
    for name, matchers in asked:
        assert name in figures, f"no gateway has {name}"
        assert grouped - ADDED_BY_PROMETHEUS <= set(figures[name]), f"{name} has no label {grouped}"
        for label, how, value in MATCHER.findall(matchers):
            if label in ADDED_BY_PROMETHEUS:
                continue
            values = figures[name].get(label, set())
            for each in value.split("|") if how == "=~" else [value]:
                assert each in values, f"{name} has no {label}={each!r}, but {sorted(values)}"


def test_every_figure_of_ours_is_on_the_dashboard_or_in_a_rule(figures: Figures) -> None:
    asked = {name for expression in expressions().values() for name, _ in SELECTOR.findall(expression)}
    ours = {
        name for name in figures if name.startswith("gateway_") and not name.endswith(("_created", "_sum", "_count"))
    }
    assert ours - asked == {"gateway_transitions_total", "gateway_config_revision_info"}


@pytest.mark.parametrize("place", expressions())
def test_every_expression_is_one(place: str) -> None:
    promql.check(expressions()[place])


@pytest.mark.parametrize(
    "expression",
    [
        "rate(a_total)",
        "rate(a_total[5m]",
        "rate(a_total[5])",
        "a_total[5m]",
        "3 + 4",
        "sum by instance (a)",
        "sum(a) by (instance))",
        "sum(a, b)",
        'a{state="x}',
        'a{state=="x"}',
        "a{state=x}",
        "histogram_quantile(rate(a_bucket[5m]))",
        "histogram_quantile(0.9, a_bucket[5m])",
        "a > ",
        "a or 3",
        "a b",
        "ratio(a[5m])",
        "a ?? b",
        "",
    ],
)
def test_what_is_no_expression_is_found(expression: str) -> None:
    with pytest.raises(promql.PromqlError):
        promql.check(expression)


def test_every_alert_says_what_is_wrong_what_that_means_and_what_mends_it() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        said = rule["annotations"]
        assert set(said) == {"summary", "description", "remedy"}
        assert said["summary"]
        assert said["description"].endswith(".")
        assert said["remedy"].endswith(".")


def test_the_commands_that_remedies_name_exist() -> None:
    remedies = " ".join(rule["annotations"]["remedy"] for rule in rules())
    commands = set(re.findall(r"`gateway (\w+)", remedies))
    assert {"status", "doctor", "outbox"} <= commands
    for command in sorted(commands):
        asked = [sys.executable, "-m", "gateway", command, "--help"]
        assert subprocess.run(asked, cwd=ROOT, capture_output=True, check=False).returncode == 0, command


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """Onto whatever Prometheus there is: which one is a variable, and nothing names another."""
    board = json.loads((OPERATING / "dashboard.json").read_text())
    assert board["schemaVersion"] >= 36, "since then a data source is named by its uid"
    source, instance = board["templating"]["list"]
    assert (source["type"], source["name"], source["query"]) == ("datasource", "datasource", "prometheus")
    named = {"type": "prometheus", "uid": "${datasource}"}
    assert [instance["datasource"], *(panel["datasource"] for panel in panels())] == [named] * (1 + len(panels()))
    assert {json.dumps(target["datasource"]) for panel in panels() for target in panel["targets"]} == {
        json.dumps(named)
    }
    assert len({panel["id"] for panel in panels()}) == len({panel["title"] for panel in panels()}) == len(panels())
    for panel in panels():
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in ("short", "s", "bytes", "cpm")
        assert all('instance=~"$instance"' in target["expr"] for target in panel["targets"])


def test_the_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
