"""The metrics as Prometheus reads them. Imported when they are asked for: the library is not on the way to the first poll.

Nothing is kept for them but what `gateway.metrics` counts; everything else is looked up at the time of asking.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from enum import Enum
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.metrics import Histogram, Tally
from statemachine.channel import ChannelState
from statemachine.circuit import CircuitState
from statemachine.lease import LeaseState
from statemachine.lifecycle import LifecycleState

__all__ = ["CONTENT_TYPE", "Exposition"]


class Exposition:
    """One scrape. Made in the loop's own turn, so that all of it is of one moment; put into words in a thread."""

    def __init__(self, tally: Tally, status: Mapping[str, Any], runs: Mapping[str, Mapping[str, int]]) -> None:
        self._tally = deepcopy(tally)
        self._status = status
        self._runs = runs

    def text(self) -> str:
        """Prometheus text, version 0.0.4."""
        registry = CollectorRegistry()
        registry.register(_Fixed([*_families(self._tally, self._status), *_process_families(self._status, self._runs)]))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        return generate_latest(registry).decode()


class _Fixed(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(tally: Tally, status: Mapping[str, Any]) -> Iterator[Metric]:
    config, accounts = status["config"], status["accounts"]
    lifecycle = GaugeMetricFamily("gateway_lifecycle_state", "1 for the state of the process", labels=["state"])
    _add_states(lifecycle, (), LifecycleState, status["state"])
    yield lifecycle
    yield from _account_families(accounts)
    text = "rows of the tables taken, by kind of machine"
    yield _counter("gateway_transitions", text, ("machine", "trigger", "dest"), tally.transitions.items())
    text = "triggers that were refused, by kind of machine"
    yield _counter("gateway_refusals", text, ("machine", "trigger", "state"), tally.refusals.items())
    reasons = [((reason,), count) for reason, count in tally.restarts.items()]
    yield _counter("gateway_restarts", "restarts completed, by what asked for them first", ("reason",), reasons)
    text = "requests for a restart that joined one that was pending"
    yield _counter("gateway_restart_coalesced", text, (), [((), tally.coalesced)])
    revisions = {name: config[name] for name in ("on_disk", "accepted", "applied")}
    yield InfoMetricFamily("gateway_config_revision", "the config on disk, accepted and applied", value=revisions)
    drift = GaugeMetricFamily("gateway_config_drift", "1 while the file differs from what runs")
    drift.add_metric((), float(config["drift"]))
    yield drift
    text = "from a change's proposal until it ran, or was known not to"
    applies = HistogramMetricFamily("gateway_config_apply_seconds", text, labels=["outcome"])
    for outcome, histogram in tally.applies.items():
        applies.add_metric((outcome,), histogram.buckets(), histogram.total)
    yield applies
    yield from _message_families(tally, status)
    # An account that never had one is shown with none, so that the first is seen as a change.
    conflicts = {(account["channel"], account["account"]): 0 for account in accounts}
    conflicts |= {_place(name): count for name, count in tally.conflicts.items()}
    text = "times that somebody else received on an account"
    yield _counter("gateway_conflicts", text, ("channel", "account"), conflicts.items())


def _account_families(accounts: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    labels = ["channel", "account", "state"]
    channels = GaugeMetricFamily("gateway_channel_state", "1 for the state of each account", labels=labels)
    text = "1 for the state of the lease of each account that several hosts share"
    leases = GaugeMetricFamily("gateway_lease_state", text, labels=labels)
    for account in accounts:
        place = account["channel"], account["account"]
        _add_states(channels, place, ChannelState, account["state"])
        if account["lease"] is not None:
            _add_states(leases, place, LeaseState, account["lease"]["state"])
    yield channels
    yield leases


def _message_families(tally: Tally, status: Mapping[str, Any]) -> Iterator[Metric]:
    yield _counter("gateway_messages_received", "messages that were taken over", (), [((), tally.received)])
    ends = [((outcome,), tally.incoming[outcome]) for outcome in ("handled", "unmatched", "refused", "dead")]
    yield _counter("gateway_messages_handled", "messages that came to an end, by what it was", ("outcome",), ends)
    yield _counter("gateway_messages_sent", "messages that their network has", (), [((), tally.outgoing["sent"])])
    yield _counter("gateway_messages_dead", "messages that are not sent any more", (), [((), tally.outgoing["dead"])])
    text = "times that nobody knew whether a message was sent"
    yield _counter("gateway_messages_unknown", text, (), [((), tally.outgoing["unknown"])])
    depth = GaugeMetricFamily("gateway_outbox_depth", "messages that are neither sent nor dead")
    depth.add_metric((), status["pending"]["outbox"])
    yield depth
    gaps = GaugeMetricFamily(
        "gateway_receive_gap_seconds", "since the last completed receive", labels=["channel", "account"]
    )
    for account in status["accounts"]:
        if account["last_receive_ms"] is not None:
            gap = max(0, status["now"] - account["last_receive_ms"]) / 1000
            gaps.add_metric((account["channel"], account["account"]), gap)
    yield gaps
    seconds = HistogramMetricFamily("gateway_handler_seconds", "how long handlers took", labels=["handler"])
    for handler, found in tally.handlers.items():
        seconds.add_metric((handler,), found.buckets(), found.total)
    yield seconds
    circuits = GaugeMetricFamily(
        "gateway_circuit_state", "1 for the state of each handler's circuit", labels=["handler", "state"]
    )
    for handler in status["handlers"]:
        _add_states(circuits, (handler["handler"],), CircuitState, handler["circuit"])
    yield circuits
    yield _histogram("gateway_store_commit_seconds", "commits of the store", tally.commits)
    yield _histogram("gateway_loop_lag_seconds", "how late the loop came to what was due", tally.lag)


def _process_families(status: Mapping[str, Any], runs: Mapping[str, Mapping[str, int]]) -> Iterator[Metric]:
    longest = status["process"]["blocked"]["longest"]
    text = "the longest that the loop was kept from what was due, since the process began"
    blocked = GaugeMetricFamily("gateway_loop_blocked_seconds", text)
    blocked.add_metric((), longest["seconds"] if longest else 0.0)
    yield blocked
    for what, kinds in runs.items():
        family = GaugeMetricFamily(f"gateway_{what}", f"{what} that there are now, by kind", labels=["kind"])
        for kind, count in sorted(kinds.items()):
            family.add_metric((kind,), count)
        yield family
    threads = GaugeMetricFamily("gateway_threads", "threads of the interpreter that there are now")
    threads.add_metric((), threading.active_count())
    yield threads


def _histogram(name: str, text: str, found: Histogram) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text)
    family.add_metric((), found.buckets(), found.total)
    return family


def _add_states(family: GaugeMetricFamily, place: Sequence[str], states: type[Enum], present: str) -> None:
    """Every state there is, so that an alert can wait for one that has not been yet."""
    for state in states:
        family.add_metric((*place, state.value), float(state.value == present))


def _place(name: str) -> tuple[str, str]:
    channel, _, account = name.partition("/")
    return channel, account


def _counter(
    name: str, text: str, labels: Sequence[str], counts: Iterable[tuple[Sequence[str], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts:
        family.add_metric(values, count)
    return family
