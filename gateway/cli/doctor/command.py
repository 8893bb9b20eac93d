"""`gateway doctor`, as it is given: each look in turn, told as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from gateway.cli.doctor import leases, machine, networks, running, store
from gateway.cli.doctor.config import read_config
from gateway.cli.doctor.finding import Finding, Patient, Severity
from gateway.cli.plain import say_json
from gateway.cli.progress import waiting
from gateway.cli.show import show
from gateway.process.address import find

LOOKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    machine.state_folder, machine.disk, machine.descriptors, machine.stopping, machine.watching, store.store, running.gateway, running.port,
)  # fmt: skip
ASKING: tuple[Callable[[Patient], Iterator[Finding]], ...] = (leases.lease_store, networks.networks)
"""Those that ask somebody elsewhere."""
CODES = {Severity.OK: 0, Severity.NOTE: 0, Severity.WARNING: 2, Severity.ERROR: 1}


def doctor(config: Path, state_dir: Path, *, offline: bool, as_json: bool) -> int:
    """Exit code 0: nothing is to be mended, 2: something should be, 1: something must be."""
    findings, looks = [], examine(config, state_dir, offline=offline)
    while finding := _next(looks):
        findings.append(finding)
        if not as_json:
            _show(finding)
    worst = max(finding.severity for finding in findings)
    if as_json:
        rows = [asdict(finding) | {"severity": finding.severity.name.lower()} for finding in findings]
        say_json({"worst": worst.name.lower(), "findings": rows})
    else:
        said = _summary(findings)
        show(worst, lambda: said, lambda tables: tables.toned(worst.name.lower(), said=said))
    return CODES[worst]


def _next(looks: Iterator[Finding]) -> Finding | None:
    """What is found next; a network may take its time to answer."""
    with waiting("looking"):
        return next(looks, None)


def _show(finding: Finding) -> None:
    severity = finding.severity.name.lower()
    remedy = f"\n{'':18} -> {finding.remedy}" if finding.remedy else ""
    show(
        finding,
        lambda: f"{severity:<8} {finding.check:<8} {finding.message}{remedy}",
        lambda tables: tables.finding(severity, finding.check, finding.message, finding.remedy),
    )


def examine(config: Path, state_dir: Path, *, offline: bool) -> Iterator[Finding]:
    """Everything that is found, as it is found. Offline no network is asked."""
    revision, findings = read_config(config)
    yield from findings
    patient = Patient(config, state_dir, None if revision is None else revision.config, find(state_dir))
    for look in LOOKS if offline else (*LOOKS, *ASKING):
        yield from look(patient)


def _summary(findings: list[Finding]) -> str:
    counts = {severity: sum(each.severity is severity for each in findings) for severity in Severity}
    if not counts[Severity.WARNING] and not counts[Severity.ERROR]:
        return "nothing is to be mended"
    return f"{counts[Severity.ERROR]} error(s), {counts[Severity.WARNING]} warning(s)"
