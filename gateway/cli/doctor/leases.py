"""What the hosts that share accounts agree by: whether it lets this one in, and whether its bucket can be relied on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from gateway.cli.doctor.finding import Finding, Patient, Severity
from gateway.config.lease import LeaseSettings


def lease_store(patient: Patient) -> Iterator[Finding]:
    """Nothing is made there, and no lease is touched. Where no host shares anything there is nothing to say."""
    if patient.config is not None and patient.config.gateway.lease.url is not None:
        yield from asyncio.run(_ask(patient.config.gateway.lease))


async def _ask(settings: LeaseSettings) -> list[Finding]:
    # Its library is imported by who shares accounts alone.
    from gateway.process.lease_store import StoreUnreachableError  # noqa: PLC0415
    from gateway.process.nats import NatsStore, remedy_of  # noqa: PLC0415

    store = NatsStore(settings)
    try:
        bucket = await store.look()
    except StoreUnreachableError as error:
        message = f"the store of the leases does not answer, so no account would receive: {error}"
        return [Finding("lease", Severity.ERROR, message, remedy_of(error))]
    finally:
        await store.close()
    if bucket is None:
        said = f"{settings.url} lets us in; the bucket {settings.bucket} does not exist yet: the first lease makes it"
        return [Finding("lease", Severity.OK, said)]
    return [
        *_of_bucket(settings, bucket.copies, bucket.kept),
        Finding("lease", Severity.OK, f"{settings.url} has {bucket.records} lease(s) in {settings.bucket}"),
    ]


def _of_bucket(settings: LeaseSettings, copies: int, kept: float | None) -> Iterator[Finding]:
    """One that somebody has made may be of a kind that breaks what leases promise."""
    name = settings.bucket
    if kept is not None:
        yield Finding(
            "lease",
            Severity.WARNING,
            f"the bucket {name} forgets a lease after {kept:,.0f} s: whoever comes then does not wait for the holder before",
            f"let it keep them: nats stream edit KV_{name} --max-age=0",
        )
    if settings.url is not None and "," in settings.url and copies == 1:
        yield Finding(
            "lease",
            Severity.WARNING,
            f"the bucket {name} is on one of the servers alone: while that one is away, nobody has a lease",
            f"let three have it: nats stream edit KV_{name} --replicas=3",
        )
