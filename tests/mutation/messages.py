"""Mutants of what carries messages: what is on the disk before what, who may be begun with, whose turn it is."""

from __future__ import annotations

from tests.mutation.swaps import Swap

PIPELINE_PY, OUTBOX_PY = "gateway/messages/pipeline.py", "gateway/messages/outbox.py"
STORE_PY, WRITER_PY, DATABASE_PY = "gateway/store/store.py", "gateway/store/writer.py", "gateway/store/database.py"
PIPELINE = (
    "tests/gateway/messages/test_taking_over.py",
    "tests/gateway/messages/test_pipeline.py",
    "tests/gateway/messages/test_pipeline_crashes.py",
)
OUTBOX = (
    "tests/gateway/messages/test_outbox.py",
    "tests/gateway/messages/test_outbox_crashes.py",
    "tests/gateway/messages/test_outbox_orders.py",
)
STORE = ("tests/gateway/store",)
OTEL_PY, TRACES = "gateway/otel.py", ("tests/gateway/test_traces.py",)

MESSAGES = (
    # Into the store, and only then confirmed
    Swap(
        "an offset counts before its messages are kept", PIPELINE_PY,
        "        bot = identity.rpartition",
        "        self._offsets.set(identity, offset)\n        bot = identity.rpartition",
        PIPELINE,
    ),
    Swap(
        "a receiver goes on before its messages are kept", PIPELINE_PY,
        "            await self._store.next_commit()\n            if len(received)", "            if len(received)", PIPELINE,
    ),
    Swap(
        "what the store has already is handled again", PIPELINE_PY,
        "            self._admit_known_new(new)\n", "            self._admit_known_new(received)\n", PIPELINE,
    ),
    Swap(
        "what may be known is begun with", PIPELINE_PY,
        "taken is not None and first >= taken and not self._behind:", "taken is not None and not self._behind:", PIPELINE,
    ),
    Swap(
        "what another token has brought is taken for new", PIPELINE_PY,
        '        bot = identity.rpartition(":")[0]\n', "        bot = identity\n", PIPELINE,
    ),
    Swap(
        "what was brought in an earlier life is taken for new", PIPELINE_PY,
        "            self._taken[whose] = max(", "            _ = max(", PIPELINE,
    ),
    Swap(
        "a handler that acts outside is given what is not on the disk", PIPELINE_PY,
        "        if opened.kept is not None and self._handlers.acts_outside(", "        if False and self._handlers.acts_outside(",
        PIPELINE,
    ),
    Swap(
        "a full pipeline lets receivers go on", PIPELINE_PY,
        "        if self.full:\n            log", "        if False:\n            log", PIPELINE,
    ),
    # What an earlier life has left
    Swap(
        "what comes while others are taken up overtakes them", PIPELINE_PY,
        "        if self._behind:\n            # Those before", "        if False:\n            # Those before", PIPELINE,
    ),
    Swap(
        "a boot goes on behind what came while it read", PIPELINE_PY,
        "if len(chunk) == CHUNK else until\n", "if len(chunk) == CHUNK else max(until, self._left_in_store)\n", PIPELINE,
    ),
    Swap(
        "what was left over is not counted as tried", PIPELINE_PY,
        "self._admit(self._counted(received) if received.number <= left else received)", "self._admit(received)", PIPELINE,
    ),
    Swap(
        "a handler has it again before the disk knows", PIPELINE_PY,
        "            self._store.taken_up(opened.number, effect.lives)\n            await self._store.committed()\n",
        "            self._store.taken_up(opened.number, effect.lives)\n", PIPELINE,
    ),
    Swap(
        "a life counts whose handler never had it", PIPELINE_PY,
        "        return received._replace(attempts=received.attempts + 1)\n",
        "        self._store.taken_up(received.number, received.attempts + 1)\n"
        "        return received._replace(attempts=received.attempts + 1)\n", PIPELINE,
    ),
    # Handled in order, and ended as one
    Swap(
        "a message does not wait for the one before it", PIPELINE_PY,
        "            waiting.append(name)\n", "            waiting.append(name)\n            self._give_turn(name)\n", PIPELINE,
    ),
    Swap(
        "an end is written down without its replies", PIPELINE_PY,
        "effect.why, attempts, outgoing)\n", "effect.why, attempts)\n", PIPELINE,
    ),
    # Sent: written down first, in order, at the network's pace, and marked where it may be there
    Swap(
        "the network hears of a reply before the disk", OUTBOX_PY,
        "                await self._store.committed()\n        except", "                await asyncio.sleep(0)\n        except", OUTBOX,
    ),
    Swap(
        "a store that stalls makes replies unknown", OUTBOX_PY,
        "        except TimeoutError:\n", "        except ZeroDivisionError:\n", OUTBOX,
    ),
    Swap(
        "what may be there already does not say so", OUTBOX_PY,
        "        if effect.marked:\n", "        if False:\n", OUTBOX,
    ),
    Swap(
        "an answer that is lost is taken for a refusal", OUTBOX_PY,
        "            return AnswerLost(effect.attempt, str(error))",
        "            return DeliveryFailed(effect.attempt, str(error), self._clock.monotonic(), retryable=True)", OUTBOX,
    ),
    Swap(
        "where a reply is is not written down", OUTBOX_PY,
        "        self._store.mark(number, effect.state,", "        self._store.mark(-1, effect.state,", OUTBOX,
    ),
    Swap(
        "a reply overtakes the one before it", OUTBOX_PY,
        "        first = next(iter(lane)) if lane else None\n",
        "        first = next((name for name in lane or () if name in account.ready), None)\n", OUTBOX,
    ),
    Swap(
        "a reply is sent while its account does not run", OUTBOX_PY,
        "        if not self._network.is_up(outgoing.name):", "        if False:", OUTBOX,
    ),
    Swap(
        "the network's pace is not kept", OUTBOX_PY,
        "        if at > now:\n            self._later", "        if False:\n            self._later", OUTBOX,
    ),
    Swap(
        "a reply has a second turn", OUTBOX_PY,
        "        if name in self._under_way:\n            return  #", "        if False:\n            return  #", OUTBOX,
    ),
    # The store
    Swap(
        "a message that is known is written over", STORE_PY,
        'RECEIVE = "INSERT OR IGNORE', 'RECEIVE = "INSERT OR REPLACE', (*STORE, *PIPELINE),
    ),
    Swap(
        "who asks a store that is closed meets an internal error", STORE_PY,
        "        except RuntimeError as error:\n", "        except KeyError as error:\n", STORE,
    ),
    Swap(
        "numbers of messages are used again", STORE_PY,
        '        last_received=last("inbox"),', '        last_received=one("SELECT max(number) FROM inbox"),', STORE,
    ),
    Swap(
        "what cannot be written is let go", WRITER_PY,
        "                await asyncio.sleep(AGAIN_AFTER)\n", "                return None\n", STORE,
    ),
    Swap(
        "who waits is told before the commit", WRITER_PY,
        "                seconds = await self.surely(partial(self._commit, batch))\n                self._waiting_now = None\n"
        "                for waiter in waiting:\n                    if not waiter.done():  # whoever was cancelled is not told\n"
        "                        waiter.set_result(None)\n",
        "                for waiter in waiting:\n                    if not waiter.done():\n                        waiter.set_result(None)\n"
        "                seconds = await self.surely(partial(self._commit, batch))\n                self._waiting_now = None\n",
        (*STORE, *PIPELINE),
    ),
    Swap(
        "a row is changed before it is inserted", WRITER_PY,
        "for statement in self._order if statement in rows}", "for statement in reversed(self._order) if statement in rows}", STORE,
    ),
    Swap(
        "something is written when the store is closed", WRITER_PY,
        "        if self._closed:\n            return\n", "", STORE,
    ),
    Swap(
        "half of a commit stays", DATABASE_PY,
        '                connection.execute("ROLLBACK")\n', '                connection.execute("COMMIT")\n', STORE,
    ),
    # Traces
    Swap(
        "a message that is known is received a second time", PIPELINE_PY,
        "taking.kept(_messages(new))", "taking.kept(_messages(received))", TRACES,
    ),
    Swap(
        "a trace is not kept with its message", PIPELINE_PY,
        "list(map(without_half_characters, taking.messages))", "list(map(without_half_characters, messages))", TRACES,
    ),
    Swap(
        "a span has the words of an error", OTEL_PY, "record_exception=False", "record_exception=True", TRACES,
    ),
    Swap(
        "a span is called by a token", OTEL_PY, "self._redactor.text(name)", "name", TRACES,
    ),
)  # fmt: skip
