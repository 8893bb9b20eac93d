"""Mutants of the restart that replaces the process, and of what holds an account among processes."""

from __future__ import annotations

from tests.mutation.swaps import Swap

SUCCESSION, ROWS, WORLD = (
    "tests/gateway/process/test_succession.py",
    "tests/gateway/process/test_rows.py",
    "tests/statemachine/test_world.py",
)


def real(name: str) -> str:
    return f"tests/real/test_exec.py::{name}"


RESTARTS = (
    Swap(
        "another image follows while receivers live", "gateway/process/succession.py",
        "await asyncio.gather(control.vacate(), self._accounts.end_all())", "await control.vacate()", (SUCCESSION,),
    ),
    Swap(
        "one receiver that never ends keeps the image for ever", "gateway/process/accounts.py",
        "            async with asyncio.timeout(patience):\n", "            if patience:\n", (SUCCESSION,),
    ),
    Swap(
        "an image is left for one that has no room for its store", "gateway/process/succession.py",
        "            await asyncio.to_thread(check_room, self._state_dir)\n", "",
        (real("test_a_disk_without_room_for_the_next_image_leaves_the_old_one_serving"),),
    ),
    Swap(
        "what had come before the signals were blocked is lost", "gateway/process/succession.py",
        "            await self._dispatcher.quiet()\n", "", (SUCCESSION,),
    ),
    Swap(
        "a signal ends the image that is about to be replaced", "gateway/process/succession.py",
        "        with signals.held():\n", "        if signals.held:\n",
        (real("test_signals_as_thick_as_one_in_ten_milliseconds"),),
    ),
    Swap(
        "what is asked for meanwhile is not handed on", "statemachine/lifecycle.py",
        "    return Handover(machine.data.served, machine.data.tickets, machine.data.restarts)",
        "    return Handover(machine.data.served, (), machine.data.restarts)", (SUCCESSION,),
    ),
    Swap(
        "whom another process is to answer is not left to it", "gateway/app.py",
        "            leave(self._options.state_dir, handover_of(self._dispatcher.machine(LIFECYCLE)))\n", "            pass\n", (ROWS,),
    ),
    Swap(
        "the locks end with the image", "gateway/process/image.py",
        "for number in (self.listener, self.lock, self.tokens) if", "for number in (self.listener,) if",
        (real("test_the_state_folder_and_the_token_are_held_all_the_while"),),
    ),
    Swap(
        "what an image had open stays open", "gateway/process/image.py",
        "        _close_on_exec()\n", "", (real("test_twenty_restarts_leave_nothing_open"),),
    ),
    Swap(
        "children of the image before are nobody's", "gateway/process/image.py",
        "    _reap()\n", "", (real("test_twenty_restarts_leave_nothing_open"),),
    ),
    Swap(
        "an account may be started while its process leaves", "statemachine/lifecycle.py",
        "    return is_ending(machine) or (machine.state is S.RESTARTING and replaced)", "    return is_ending(machine) or not replaced and False",
        (f"{WORLD}::test_restarts_that_replace_the_process",),
    ),
    Swap(
        "an account that another process receives on is received on, too", "gateway/channels/receivers.py",
        "            self._claim(name, effect.run.settings)\n", "            pass\n",
        (real("test_a_token_that_another_gateway_holds_is_waited_for_and_one_that_is_given_up_is_free"),),
    ),
    Swap(
        "an account that stops because its process is replaced is anybody's", "gateway/process/claims.py",
        "        if is_stopped(machine) and (", "        if is_stopped(machine) or (",
        (real("test_the_state_folder_and_the_token_are_held_all_the_while"),),
    ),
    Swap(
        "who connected and has not asked yet is hung up on", "gateway/admin/server.py",
        "            if all(each is None or each in self._asked for each in transports):\n", "            if True:\n",
        (real("test_who_was_let_in_is_heard"),),
    ),
)  # fmt: skip
