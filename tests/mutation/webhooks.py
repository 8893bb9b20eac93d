"""Mutants of the webhook: whose it is, who is let in at the door, what is confirmed when, and what ends with a generation."""

from __future__ import annotations

from tests.mutation.swaps import Swap

WEBHOOK_PY, TELEGRAM_PY = "gateway/channels/telegram_webhook.py", "gateway/channels/telegram_receiver.py"
DOOR_PY, HTTP_PY = "gateway/admin/webhooks.py", "gateway/admin/http.py"
RECEIVER = ("tests/gateway/channels/test_telegram_webhook.py",)
DOOR = ("tests/gateway/admin/test_webhooks.py",)

WEBHOOKS = (
    # Whose it is
    Swap(
        "a foreign webhook is replaced by ours", WEBHOOK_PY,
        "        if found.address and not self._is_ours(found) and not self._settings.delete_webhook:", "        if False:", RECEIVER,
    ),
    Swap(
        "a foreign webhook is removed by who polls", TELEGRAM_PY,
        "            if not self._is_ours(await self._webhook()):\n                raise\n", "", RECEIVER,
    ),
    Swap(
        "a webhook that was taken away is not missed", WEBHOOK_PY,
        "        if not found.is_at(self._address):", "        if False:", RECEIVER,
    ),
    Swap(
        "what is our own is forgotten in a crash", WEBHOOK_PY,
        "        await self._intake.accept(self._identity_of(self._address), self._highest, [])\n", "", RECEIVER,
    ),
    # What is confirmed when
    Swap(
        "a later number confirms the earlier ones", WEBHOOK_PY,
        "        identity = self._identity_of(self._address)\n", "        identity = self._identity\n", RECEIVER,
    ),
    Swap(
        "an update is said to have arrived before it is safe", WEBHOOK_PY,
        "            await self._take(number, update)\n", "            self._begin(self._take(number, update))\n", RECEIVER,
    ),
    Swap(
        "there is always room", WEBHOOK_PY,
        "create_task(self._intake.room())", "create_task(asyncio.sleep(0))", RECEIVER,
    ),
    Swap(
        "who waits for room waits for ever", WEBHOOK_PY,
        "asyncio.timeout(HOLD)", "asyncio.timeout(None)", RECEIVER,
    ),
    # What ends with a generation
    Swap(
        "one that has ended takes on", WEBHOOK_PY,
        "        if self._over or room is None", "        if room is None", RECEIVER,
    ),
    Swap(
        "one that has ended is still asked", WEBHOOK_PY,
        "        self._hooks.take_down(self._name, self)\n", "", RECEIVER,
    ),
    Swap(
        "a receive that breaks ends nothing", WEBHOOK_PY,
        "            self._end(error)\n", "", RECEIVER,
    ),
    # The door
    Swap(
        "any secret opens the door", DOOR_PY,
        "same(given, secret) and known", "known", DOOR,
    ),
    Swap(
        "wrong secrets are not counted", DOOR_PY,
        "        self._attempts.refuse_too_many(address)\n", "", DOOR,
    ),
    Swap(
        "who has the right secret is kept out by others", DOOR_PY,
        "        given = request.headers.get(SECRET_HEADER)\n",
        "        given = request.headers.get(SECRET_HEADER)\n        self._attempts.refuse_too_many(address)\n", DOOR,
    ),
    Swap(
        "the host of a webhook opens the whole gateway", HTTP_PY,
        "        check_place(request.headers, self._port, admin)\n",
        "        check_place(request.headers, self._port, admin, self._webhooks.hosts())\n", DOOR,
    ),
    Swap(
        "any host is good for what is brought", HTTP_PY,
        "            check_place(request.headers, self._port, admin, self._webhooks.hosts())\n", "", DOOR,
    ),
    Swap(
        "hosts are remembered for ever", DOOR_PY,
        "        if config is not self._services.ledger.applied:", "        if config is None:", DOOR,
    ),
)  # fmt: skip
