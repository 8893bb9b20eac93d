"""`python -m statemachine`: draw the machines, and check that the tables and the drawings are right."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from statemachine import MACHINES
from statemachine.check import faults, outdated
from statemachine.diagram import mermaid, svg
from statemachine.errors import DrawingError, SpinError
from statemachine.lifecycle_events import RestartBy

ABOUT = """\
The tables in statemachine/ say what may happen in the gateway. This draws them and checks them.

  python -m statemachine render    after every change of a table: writes the diagrams
  python -m statemachine check     before every commit: are the tables sound, and the diagrams of them?
  python -m statemachine explore   do the promises hold, whatever happens in whatever order?
  python -m statemachine promela   the same question for Spin: writes its model, or runs it
"""

RENDER = """\
Writes two pictures of each machine, both made from the built table:

  <machine>.mmd    Mermaid text, one row a line in the order of the table: read its diff in a review
  <machine>.svg    the picture for the eye, with guards, effects and what each state means

The SVG needs pygraphviz (a development extra; it brings Graphviz along).
"""

CHECK = """\
Looks for what lets a table build and is wrong all the same: states that cannot be reached or left or from which
nothing leads to the final state, rows that an earlier one always precedes, -ing states without a row for success,
failure or deadline, events nobody handles, guards and actions nobody names, states without a docstring.
Then compares the diagrams in the folder with the tables. Nothing is written.

Exit code 0: all is well. 1: something is not; each line says what and where, and what to do.
"""

EXPLORE = """\
Visits every world that the lifecycle and N accounts can reach: their machines are the real tables; around them are
timers, work under way, receivers, the file, and who waits for an answer. The outside may do --budget things, in any
order and at any moment: save or write one of six configs or a bad one, ask for a restart, start, stop or restart an
account, break, hang or refuse a receiver, fail or hang the gateway's own work, or kill the process. Cancelling a
restart and asking for a stop are always possible.

Holds against each world: one receiver an account; a revision is applied once; a request has one outcome; a restart
serves open tickets; one piece of work at a time; what is stale moves nothing; what a person stopped stays stopped.
With --confirm calls write changes that must be confirmed, too, and more is held: only what was confirmed stays; nothing
is begun beside such a change; what was rolled back stays away. It takes minutes: begin with one account.
With --restart exec, or exit, a restart is another image of the process, or another process: none begins its work before
the last receiver of the one before it is dead, and who asked is answered by it.
With --rivals another gateway on the machine wants the same accounts, and takes what nobody holds.
With --shared other hosts want the accounts as well: their leases come, and go at any moment, and who has not the lease of
an account does not receive on it.
With --hosts it is another world: two hosts, the store of their leases, and time: each may be halted, parted from the store,
or die, at any point. Holds: no two of them receive at a time.
With --messages it is another world: two messages of one conversation on their way from the network into the store, to
their handler, and their replies back, with a crash at any point. Holds: what was confirmed to the network is in the
store, and is handled; a reply is sent, dead, or unknown and shown; nothing is sent twice unmarked; in order.
And, where the outside does nothing more: what is under way ends, a stop arrives, a change is not dropped.

A broken promise is told as a shortest story. Exit code 0: all are kept. 1: one is broken. 2: the limit came first.
"""

PROMELA = """\
Writes the product of the lifecycle and N accounts as a Promela model: the rows are those of the tables, what their
guards and actions mean and what the outside may do stands in statemachine/promela/, apart from what explore uses.

With --check the model is not written but searched, by the programs spin and gcc (both are Debian packages): first for
the promises that explore holds too, then for a run without an end. Budget 3 and one account take under a minute.

Exit code 0: written, or every promise kept. 1: one is broken, and told as a shortest story. 2: it could not be done.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m statemachine", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, run, summary, about in (
        ("render", render, "write the diagrams of all machines", RENDER),
        ("check", check, "check the tables, and that the diagrams are of them", CHECK),
    ):
        command = _command(commands, name, summary, about)
        command.add_argument(
            "--out", type=Path, default=Path("diagrams"), metavar="FOLDER", help="where the diagrams are (%(default)s)"
        )
        command.set_defaults(run=lambda given, run=run: run(given.out))
    command = _command(commands, "explore", "visit every reachable world, and hold the promises against it", EXPLORE)
    command.add_argument("--channels", type=int, default=3, metavar="N", help="how many accounts (%(default)s)")
    command.add_argument("--budget", type=int, default=2, metavar="K", help="how much the outside may do (%(default)s)")
    command.add_argument("--reload-off", action="store_true", help="in reload mode `off`")
    command.add_argument("--confirm", action="store_true", help="with changes that must be confirmed")
    command.add_argument(
        "--restart", choices=[by.value for by in RestartBy], default="in_process", help="how it restarts (%(default)s)"
    )
    command.add_argument("--rivals", action="store_true", help="with another gateway that wants the same accounts")
    command.add_argument("--shared", action="store_true", help="with other hosts, and leases")
    command.add_argument(
        "--hosts", action="store_true", help="the world of two hosts and their leases, whatever else is said"
    )
    command.add_argument("--messages", action="store_true", help="the world of messages, whatever else is said")
    command.add_argument("--limit", type=int, metavar="STATES", help="visit no more than that many")
    command.add_argument("--test", type=Path, metavar="FILE", help="write the first broken promise as a test, too")
    command.add_argument("--json", action="store_true", help="the result as JSON")
    command.set_defaults(run=explore)
    command = _command(commands, "promela", "the tables as a model for Spin", PROMELA)
    command.add_argument("--channels", type=int, default=1, metavar="N", help="how many accounts (%(default)s)")
    command.add_argument("--budget", type=int, default=2, metavar="K", help="how much the outside may do (%(default)s)")
    command.add_argument("--reload-off", action="store_true", help="in reload mode `off`")
    command.add_argument(
        "--restart", choices=[by.value for by in RestartBy], default="in_process", help="how it restarts (%(default)s)"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="write it there, not to standard output")
    command.add_argument("--check", action="store_true", help="search it with Spin, and say what was found")
    command.set_defaults(run=promela)
    given = parser.parse_args(arguments)
    result: int = given.run(given)
    return result


def _command(commands: Any, name: str, summary: str, about: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return made


def render(folder: Path) -> int:
    """Write `<kind>.mmd` of every machine, then `<kind>.svg`: the text needs nothing that may be missing."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for ending, draw in ((".mmd", lambda machine: mermaid(machine).encode()), (".svg", svg)):
            for machine in MACHINES:
                path = folder / f"{machine.kind}{ending}"
                path.write_bytes(draw(machine))
                print(path)
    except DrawingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def check(folder: Path) -> int:
    """Print every fault of the tables and of their pictures."""
    found = [fault for machine in MACHINES for fault in faults(machine)] + outdated(MACHINES, folder)
    for fault in found:
        print(fault)
    states, rows = sum(len(machine.states) for machine in MACHINES), sum(len(machine.table) for machine in MACHINES)
    verdict = f"{len(found)} found" if found else "ok"
    print(f"{len(MACHINES)} machines, {states} states, {rows} rows: {verdict}")
    return 1 if found else 0


def explore(given: argparse.Namespace) -> int:
    """Explore the product, and tell what was found."""
    # Imported when asked for: drawing and checking need nothing of it.
    from statemachine.explore_command import run  # noqa: PLC0415

    return run(
        given.channels,
        given.budget,
        reload=not given.reload_off,
        confirm=given.confirm,
        messages=given.messages,
        restart_by=given.restart,
        rivals=given.rivals,
        shared=given.shared,
        hosts=given.hosts,
        limit=given.limit,
        test=given.test,
        as_json=given.json,
    )


def promela(given: argparse.Namespace) -> int:
    """Write the model for Spin, or run Spin on it."""
    from statemachine import spin  # noqa: PLC0415
    from statemachine.promela import promela as model_of  # noqa: PLC0415

    model = model_of(
        accounts=given.channels, budget=given.budget, reload=not given.reload_off, restart_by=RestartBy(given.restart)
    )
    if given.out is not None:
        given.out.write_text(model, encoding="utf-8")
        print(given.out)
    elif not given.check:
        print(model, end="")
    if not given.check:
        return 0
    try:
        verdicts = spin.check(model, cycles=True, optimise=given.budget > 2 or given.channels > 1)
    except SpinError as error:
        print(error, file=sys.stderr)
        return 2
    print(spin.tell(verdicts))
    return 1 if verdicts.stories or verdicts.endless else 0


if __name__ == "__main__":
    sys.exit(main())
