"""The metrics as they are scraped: names and labels are a contract with every dashboard."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway.errors import ConflictError
from statemachine.channel import ChannelState
from statemachine.circuit import CallFailed, Circuit, CircuitData, CircuitState
from statemachine.lease import Lease, LeaseData, LeaseState
from statemachine.lifecycle import LifecycleState
from tests.gateway.admin.house import CHAT, MAIN, SECRET, TEXT, TOKEN, AdminHouse, run

LABELS = {
    "gateway_lifecycle_state": {"state"},
    "gateway_channel_state": {"channel", "account", "state"},
    "gateway_lease_state": {"channel", "account", "state"},
    "gateway_transitions_total": {"machine", "trigger", "dest"},
    "gateway_refusals_total": {"machine", "trigger", "state"},
    "gateway_restarts_total": {"reason"},
    "gateway_restart_coalesced_total": set(),
    "gateway_config_revision_info": {"on_disk", "accepted", "applied"},
    "gateway_config_drift": set(),
    "gateway_config_apply_seconds_bucket": {"outcome", "le"},
    "gateway_config_apply_seconds_count": {"outcome"},
    "gateway_config_apply_seconds_sum": {"outcome"},
    "gateway_conflicts_total": {"channel", "account"},
    "gateway_circuit_state": {"handler", "state"},
    "gateway_messages_received_total": set(),
    "gateway_messages_handled_total": {"outcome"},
    "gateway_messages_sent_total": set(),
    "gateway_messages_dead_total": set(),
    "gateway_messages_unknown_total": set(),
    "gateway_outbox_depth": set(),
    "gateway_receive_gap_seconds": {"channel", "account"},
    "gateway_handler_seconds_bucket": {"handler", "le"},
    "gateway_handler_seconds_count": {"handler"},
    "gateway_handler_seconds_sum": {"handler"},
    "gateway_store_commit_seconds_bucket": {"le"},
    "gateway_store_commit_seconds_count": set(),
    "gateway_store_commit_seconds_sum": set(),
    "gateway_loop_lag_seconds_bucket": {"le"},
    "gateway_loop_lag_seconds_count": set(),
    "gateway_loop_lag_seconds_sum": set(),
    "gateway_loop_blocked_seconds": set(),
    "gateway_tasks": {"kind"},
    "gateway_timers": {"kind"},
    "gateway_threads": set(),
}
"""Every metric of ours, and its labels."""
PROMISED = """
lifecycle_state{state} channel_state{channel,account,state} transitions_total{machine,trigger,dest}
refusals_total{machine,trigger,state} restarts_total{reason} restart_coalesced_total config_revision_info
config_apply_seconds receive_gap_seconds{channel,account} conflicts_total{channel,account} messages_received_total
messages_handled_total messages_sent_total messages_dead_total outbox_depth handler_seconds{handler}
store_commit_seconds loop_lag_seconds
"""
"""What dashboards elsewhere may rely on: of these no name and no label is taken away."""


class Scrape:
    """What one GET /metrics answered, read as Prometheus reads it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        """None when there is no such sample."""
        found = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert len(found) <= 1, found
        return found[0] if found else None

    def ones(self, name: str, label: str, **labels: str) -> list[str]:
        """The label of each sample that is 1."""
        found = [s for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert {s.value for s in found} <= {0, 1}
        return [s.labels[label] for s in found if s.value == 1]


async def scrape(house: AdminHouse) -> Scrape:
    status, text, headers = await house.http("GET", "/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return Scrape(text)


def test_names_labels_and_kinds_are_those_of_the_contract(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            await house.http("DELETE", "/api/v1/restart/none")
            house.cancel("none")
            await house.http("POST", "/api/v1/restart", json={"delay_ms": 0})
            await house.until(LifecycleState.RESTARTING)
            await house.until(LifecycleState.RUNNING)
            house._tally.handlers["echo"].observe(0.1)
            house._dispatcher.add(Lease(f"lease/{MAIN}", LeaseData()))
            found = await scrape(house)
            ours = {s.name: set(s.labels) for s in found.samples if s.name.startswith("gateway_")}
            assert ours == LABELS
            kinds = {name: family.type for name, family in found.families.items() if name.startswith("gateway_")}
            assert {name for name, kind in kinds.items() if kind == "counter"} == {
                name.removesuffix("_total") for name in LABELS if name.endswith("_total")
            }
            assert all(family.documentation for family in found.families.values())
            for name in (
                "process_cpu_seconds_total",
                "process_resident_memory_bytes",
                "process_open_fds",
                "python_info",
            ):
                assert found.value(name) is not None, name

    run(main())


def test_every_name_that_is_promised_is_there() -> None:
    names = PROMISED.split()
    assert len(names) == 18
    for promised in names:
        name, _, labels = promised.rstrip("}").partition("{")
        shown = [f"gateway_{name}{end}" for end in ("", "_bucket") if f"gateway_{name}{end}" in LABELS]
        assert shown, name
        assert set(filter(None, labels.split(","))) <= LABELS[shown[0]], name


def test_states_are_those_of_the_status(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            found = await scrape(house)
            assert found.ones("gateway_lifecycle_state", "state") == ["running"]
            assert found.ones("gateway_channel_state", "state", channel="telegram", account="main") == ["running"]
            states = {s.labels["state"] for s in found.samples if s.name == "gateway_lifecycle_state"}
            assert states == {state.value for state in LifecycleState}
            states = {s.labels["state"] for s in found.samples if s.name == "gateway_channel_state"}
            assert states == {state.value for state in ChannelState}
            await house.http("POST", f"/api/v1/channels/{MAIN}/stop")
            found = await scrape(house)
            assert found.ones("gateway_channel_state", "state", channel="telegram") == ["stopped"]
            assert found.ones("gateway_channel_state", "state", channel=CHAT.split("/")[0]) == ["running"]
            # An account that is gone is not shown any more; what its machine did still counts.
            await house.edit(TEXT.replace("main:", "other:"))
            await asyncio.sleep(5)
            found = await scrape(house)
            assert found.ones("gateway_channel_state", "account", channel="telegram") == ["other"]

    run(main())


def test_a_handlers_circuit_is_shown_whether_it_has_failed_or_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            found = await scrape(house)
            assert found.ones("gateway_circuit_state", "state", handler="echo") == ["closed"]
            house._dispatcher.add(Circuit("circuit/echo", CircuitData(failures=4)))
            house._dispatcher.tell("circuit/echo", CallFailed(), "test")
            await asyncio.sleep(1)
            found = await scrape(house)
            assert found.ones("gateway_circuit_state", "state", handler="echo") == ["open"]
            states = {s.labels["state"] for s in found.samples if s.name == "gateway_circuit_state"}
            assert states == {state.value for state in CircuitState}
            _, status, _ = await house.http("GET", "/api/v1/status")
            assert status["handlers"] == [{"handler": "echo", "type": "echo", "circuit": "open"}]

    run(main())


def test_the_lease_of_an_account_is_shown_where_it_is_shared_and_there_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            found = await scrape(house)
            assert [s for s in found.samples if s.name == "gateway_lease_state"] == []
            lease = Lease(f"lease/{MAIN}", LeaseData())
            house._dispatcher.add(lease)
            for state in LeaseState:
                lease.state = state
                found = await scrape(house)
                labels = {"channel": "telegram", "account": "main"}
                assert found.ones("gateway_lease_state", "state", **labels) == [state.value]
                assert found.ones("gateway_lease_state", "state") == [state.value], "the web chat is shared with nobody"
            house._dispatcher.remove(lease.name)  # its states were of nobody's making, and the journal knows of none

    run(main())


def test_counters_are_those_of_the_journal(tmp_path: Path) -> None:
    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            found = await scrape(house)
            assert found.value("gateway_conflicts_total", account="main") == 0
            assert found.value("gateway_transitions_total", machine="lifecycle", trigger="started", dest="running") == 1
            assert found.value("gateway_restart_coalesced_total") == 0
            house.network.live(MAIN)[0].fail(ConflictError("somebody else"))
            await house.until_account(MAIN, "conflict")
            for delay in (5_000, 1_000):
                await house.http(
                    "POST", "/api/v1/restart", json={"delay_ms": delay, "reason": "with a label of its own"}
                )
            await house.until(LifecycleState.RESTARTING)
            await house.until(LifecycleState.RUNNING)
            found = await scrape(house)
            assert found.value("gateway_conflicts_total", channel="telegram", account="main") == 1
            assert found.value("gateway_restart_coalesced_total") == 1
            assert found.value("gateway_restarts_total", reason="call") == 1
            taken = sum(s.value for s in found.samples if s.name == "gateway_transitions_total")
            assert taken == len([e for e in house._journal.page(0, 100_000) if e.kind == "step"])
            assert "label of its own" not in found.text

    run(main())


def test_revisions_and_drift(tmp_path: Path) -> None:
    async def main() -> None:
        text = TEXT.replace("gateway:\n", "gateway:\n  reload: {mode: 'off'}\n")
        async with AdminHouse(tmp_path, text) as house:
            first = str(house.hash)
            found = await scrape(house)
            assert found.value("gateway_config_drift") == 0
            assert found.value("gateway_config_revision_info", on_disk=first, accepted=first, applied=first) == 1
            await house.edit(text + "store: {keep_days: 3}\n")
            await asyncio.sleep(1)
            found = await scrape(house)
            assert found.value("gateway_config_drift") == 1
            assert found.value("gateway_config_revision_info", on_disk=str(house.hash), applied=first) == 1

    run(main())


def test_a_token_is_needed_unless_they_are_public(tmp_path: Path) -> None:
    """`metrics_public` opens this path and no other, is live, and leaves the check of Host and Origin where it is."""

    async def main() -> None:
        async with AdminHouse(tmp_path) as house:
            for token in (None, "wrong"):
                assert (await house.http("GET", "/metrics", token=token))[0] == 401
            await house.edit(TEXT.replace("port: 0,", "port: 0, metrics_public: true,"))
            await asyncio.sleep(1)
            for token in (None, "wrong", TOKEN):
                assert (await house.http("GET", "/metrics", token=token))[0] == 200
            for path in ("/metrics/", "/metrics/x", "/api/v1/status", "/api/v1/journal"):
                assert (await house.http("GET", path, token=None))[0] == 401, path
            assert (await house.http("GET", "/metrics", token=None, headers={"Origin": "http://elsewhere"}))[0] == 403
            assert (await house.http("GET", "/metrics", token=None, headers={"Host": "elsewhere"}))[0] == 403
            assert (await house.http("POST", "/metrics"))[0] == 405
            await house.edit(TEXT)
            await asyncio.sleep(1)
            assert (await house.http("GET", "/metrics", token=None))[0] == 401

    run(main())


def test_case_60_no_secret_is_in_a_label(tmp_path: Path) -> None:
    """Not even where somebody called an account by its token. (The house looks for its own secrets in every answer.)"""

    async def main() -> None:
        async with AdminHouse(tmp_path, TEXT.replace("main:", f"{SECRET}:")) as house:
            found = await scrape(house)
            assert SECRET not in found.text
            assert found.ones("gateway_channel_state", "account", channel="telegram") == ["__REDACTED__"]

    run(main())


def test_the_library_is_not_on_the_way_to_the_first_poll() -> None:
    program = "import sys, gateway.app, gateway.admin.server; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
