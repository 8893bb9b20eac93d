"""`gateway doctor`, as it is given: each look in turn, told as soon as it is done."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from gateway.cli.doctor import machine, networks, running, store
from gateway.cli.doctor.config import read_config
from gateway.cli.doctor.finding import Finding, Patient, Severity
from gateway.process.address import find

LOOKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    machine.state_folder, machine.disk, machine.descriptors, machine.stopping, machine.watching, store.store, running.gateway, running.port,
)  # fmt: skip
CODES = {Severity.OK: 0, Severity.NOTE: 0, Severity.WARNING: 2, Severity.ERROR: 1}


def doctor(config: Path, state_dir: Path, *, offline: bool, as_json: bool) -> int:
    """Exit code 0: nothing is to be mended, 2: something should be, 1: something must be."""
    findings = []
    for finding in examine(config, state_dir, offline=offline):
        findings.append(finding)
        if not as_json:
            sys.stdout.write(_told(finding))
            sys.stdout.flush()
    worst = max(finding.severity for finding in findings)
    if as_json:
        rows = [asdict(finding) | {"severity": finding.severity.name.lower()} for finding in findings]
        sys.stdout.write(json.dumps({"worst": worst.name.lower(), "findings": rows}, indent=2) + "\n")
    else:
        sys.stdout.write(_summary(findings))
    return CODES[worst]


def examine(config: Path, state_dir: Path, *, offline: bool) -> Iterator[Finding]:
    """Everything that is found, as it is found. Offline no network is asked."""
    revision, findings = read_config(config)
    yield from findings
    patient = Patient(config, state_dir, None if revision is None else revision.config, find(state_dir))
    for look in LOOKS if offline else (*LOOKS, networks.networks):
        yield from look(patient)


def _told(finding: Finding) -> str:
    remedy = f"{'':18} -> {finding.remedy}\n" if finding.remedy else ""
    return f"{finding.severity.name.lower():<8} {finding.check:<8} {finding.message}\n{remedy}"


def _summary(findings: list[Finding]) -> str:
    counts = {severity: sum(each.severity is severity for each in findings) for severity in Severity}
    if not counts[Severity.WARNING] and not counts[Severity.ERROR]:
        return "nothing is to be mended\n"
    return f"{counts[Severity.ERROR]} error(s), {counts[Severity.WARNING]} warning(s)\n"
