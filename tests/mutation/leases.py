"""Mutants of the code around a lease: what is proven before it is wanted or given up, whose clock counts, and what a store refuses."""

from __future__ import annotations

from tests.mutation.swaps import Swap

LEASES_PY, STORE_PY, RECORD_PY, NATS_PY = (
    "gateway/process/leases.py",
    "gateway/process/lease_store.py",
    "statemachine/lease_record.py",
    "gateway/process/nats.py",
)
RECEIVERS_PY, BASE_PY = "gateway/channels/receivers.py", "gateway/channels/base.py"
HOSTS, RECEIVERS = (
    ("tests/gateway/process/test_leases.py",),
    (
        "tests/gateway/channels/test_receivers.py",
        "tests/gateway/channels/test_receivers_leases.py",
    ),
)
TABLE, WORLD = ("tests/statemachine/test_lease.py",), ("tests/statemachine/test_host_world.py",)
STORES = ("tests/real/test_leases.py::test_of_two_who_write_over_the_same_record_one_is_refused",)

LEASES = (
    Swap(
        "a receiver begins although its lease is another host's", RECEIVERS_PY,
        "        if barred or late:", "        if late:", RECEIVERS,
    ),
    Swap(
        "one that was told to end while its lease was asked for begins", RECEIVERS_PY,
        "        late = self._was_told_to_end(name, effect.generation) or ", "        late = ", RECEIVERS,
    ),
    Swap(
        "one that has a successor begins", RECEIVERS_PY,
        " or self._newest[name] != effect.generation\n", "\n", RECEIVERS,
    ),
    Swap(
        "a message is taken over when the lease is over", BASE_PY,
        "        # What nobody takes over here is brought to the host that receives now.\n        self._permit()\n", "", RECEIVERS,
    ),
    Swap(
        "the next receive begins when the lease is over", BASE_PY,
        "            self._holding_up -= 1\n        self.permit()\n", "            self._holding_up -= 1\n", RECEIVERS,
    ),
    Swap(
        "the clock of timers says whether a lease is over", LEASES_PY,
        "self._clock.boottime() < until", "self._clock.monotonic() < until", HOSTS,
    ),
    Swap(
        "a lease is given up before the receivers end", "gateway/process/operations.py",
        "        await self._accounts.stop_all(\"stop\", confirm=True)\n        await self._give_up()\n",
        "        await self._give_up()\n        await self._accounts.stop_all(\"stop\", confirm=True)\n", HOSTS,
    ),
    Swap(
        "a copy of a state folder is the same holder everywhere", LEASES_PY,
        'f"{socket.gethostname()}:{path.read_text().strip()}"', "path.read_text().strip()", HOSTS,
    ),
    Swap(
        "a record that has changed is not seen anew", STORE_PY,
        "        if known != revision:", "        if known < 0:", HOSTS,
    ),
    Swap(
        "what was taken since is released", STORE_PY,
        " and record.term == effect.term:\n", ":\n", HOSTS,
    ),
    Swap(
        "a record is written over whatever stands there", NATS_PY,
        "await bucket.update(key, msgspec.json.encode(record), last=revision)",
        "await bucket.put(key, msgspec.json.encode(record))", STORES,
    ),
    Swap(
        "what is another's is renewed", RECORD_PY,
        "    if effect.renews and not same:\n        return None\n", "", TABLE,
    ),
    Swap(
        "what is held is taken", RECORD_PY,
        "mine or record.released or unchanged >= record.ttl", "mine or record.released or unchanged >= 0", WORLD,
    ),
    Swap(
        "what a store has lost was never there", RECORD_PY,
        "        return effect.policy.ttl + effect.policy.linger\n", "        return 0.0\n", WORLD,
    ),
    Swap(
        "a poll of the dead is not waited for", RECORD_PY,
        "record.holder == me.holder else effect.policy.linger", "record.holder == me.holder else 0.0", TABLE,
    ),
)  # fmt: skip
