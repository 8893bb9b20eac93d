"""The gateway that runs with this state folder, as it says itself; or whether one could listen where the config says."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from gateway.cli.client import CallError, Client, UnreachableError
from gateway.cli.doctor.finding import Finding, Patient, Severity
from statemachine.lifecycle import Phase, phase_of


def gateway(patient: Patient) -> Iterator[Finding]:
    """What it calls degraded, each reason with its remedy."""
    if patient.address is None:
        yield Finding("gateway", Severity.NOTE, f"none runs with the state folder {patient.state_dir}")
        return
    try:
        status = Client(patient.path, patient.state_dir).call("GET", "/api/v1/status")
    except UnreachableError as error:
        yield Finding(
            "gateway", Severity.ERROR, str(error), "look at its log; SIGTERM ends it, and a third one ends it at once"
        )
        return
    except CallError as error:
        yield Finding("gateway", Severity.ERROR, f"{patient.address} answers with an error: {error}", "look at its log")
        return
    state, reasons = status["state"], status["degraded"]
    severity = Severity.OK if phase_of(state) is Phase.READY else Severity.NOTE
    yield Finding("gateway", severity, f"{patient.address} is {state}{', and degraded' if reasons else ''}")
    for reason in reasons:
        yield Finding("gateway", Severity.WARNING, f"{reason['reason']}: {reason['detail']}", reason["remedy"])


def port(patient: Patient) -> Iterator[Finding]:
    """Tried, as long as no gateway of ours has it."""
    if patient.config is None or patient.address is not None:
        return
    admin = patient.config.gateway.admin
    place, remedy = f"{admin.host}:{admin.port}", "change gateway.admin.host or gateway.admin.port"
    try:
        with socket.create_server((admin.host, admin.port), family=_family(admin.host)):
            yield Finding("port", Severity.OK, f"{place} can be listened on")
    except OSError as error:
        why = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        yield Finding("port", Severity.ERROR, f"{place} cannot be listened on: {why}", f"end that program, or {remedy}")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
