"""Runs Spin on a model and says which promises it breaks, each with a shortest story.

Needs the programs `spin` and `gcc`; where `tcc` is, a verifier that is not to be optimised is compiled by that, a hundred
times as fast. Two searches: breadth-first for the promises, and one for runs without an end
(`statemachine.promela` says why the two suffice).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from statemachine.errors import SpinError
from statemachine.promela.promises import MODEL_FITS, WORDS

MEMORY_MB = 2000
NO_ORDER = ("-DNOREDUCE", f"-DMEMLIM={MEMORY_MB}", "-w")
"""One process and no channels: there is no partial order to reduce."""
SEARCH = ("-DBFS", "-DSAFETY")
CYCLES = ("-DNP",)
REPLAY = ("-DSAFETY", "-DPRINTF")
OPTIMISED, PLAIN = "-O2", "-O0"
DEEPEST = 1_000_000
TOLD = re.compile(r"^(?:-- |   \S|!! )")
INCOMPLETE = ("out of memory", "max search depth too small", "reached -DMEMLIM", "aborting")


@dataclass(frozen=True)
class Verdicts:
    """What Spin found: for each broken promise a shortest story, a line a move, with the rows it took indented under it."""

    states: int
    transitions: int
    stories: dict[str, tuple[str, ...]]
    endless: bool = False
    """The inside can go on for ever although the outside does nothing more."""

    @property
    def promises_broken(self) -> frozenset[str]:
        return frozenset(self.stories)


def check(
    model: str, *, timeout: float = 600.0, cycles: bool = False, optimise: bool = False, stories: bool = True
) -> Verdicts:
    """Search the whole model. `optimise` compiles longer and searches faster: for large ones.

    `cycles` looks for endless runs as well, where no promise is broken; without `stories` they stay empty. Raises SpinError when a program is missing,
    when the model is none, or when it is too large for the memory or the time.
    """
    with TemporaryDirectory(prefix="spin-") as name:
        bench = _Bench(Path(name), timeout)
        bench.generate(model)
        level = OPTIMISED if optimise else PLAIN
        bench.compile("search", *SEARCH, level)
        told = bench.run("search", "-c0", "-e")
        broken = re.findall(r"^pan:\d+: broken: (.+) \(at depth \d+\)$", told, re.MULTILINE)
        told_stories: dict[str, tuple[str, ...]] = bench.stories(broken) if stories else dict.fromkeys(broken, ())
        endless = False
        if cycles and not broken:
            bench.compile("cycles", *CYCLES, level)
            endless = _number(r"errors: (\d+)", bench.run("cycles", "-l", f"-m{DEEPEST}")) > 0
        if MODEL_FITS in broken:
            raise SpinError(f"the model is too small for what happens in it: {told_stories[MODEL_FITS]}")
        states, transitions = _number(r"(\d+) states, stored", told), _number(r"(\d+) transitions \(=", told)
        return Verdicts(states, transitions, told_stories, endless)


def tell(verdicts: Verdicts) -> str:
    """The verdict on each promise, with the story of every broken one."""
    lines = [f"{verdicts.states} states, {verdicts.transitions} transitions"]
    for promise in WORDS.values():
        lines.append(f"{promise}: {'broken' if promise in verdicts.stories else 'holds'}")
        lines += [f"  {line}" for line in verdicts.stories.get(promise, ())]
    lines += ["a run without an end is possible"] if verdicts.endless else []
    return "\n".join(lines)


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise SpinError(f"the verifier ended without a count of {pattern!r}: {text[-2000:]}")
    return int(found[1])


class _Bench:
    """A folder in which a model becomes a verifier, and the verifier is run."""

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder = folder
        self._timeout = timeout

    def generate(self, model: str) -> None:
        (self._folder / "model.pml").write_text(model, encoding="utf-8")
        told = self._call("spin", "-a", "model.pml")
        if not (self._folder / "pan.c").exists() or "Error" in told:
            raise SpinError(f"spin does not accept the model: {told}")

    def compile(self, name: str, *options: str) -> None:
        compiler = "tcc" if PLAIN in options and shutil.which("tcc") else "gcc"
        told = self._call(compiler, *NO_ORDER, *options, "-o", name, "pan.c")
        if not (self._folder / name).exists():
            raise SpinError(f"{compiler} cannot compile the verifier: {told}")

    def run(self, name: str, *options: str) -> str:
        told = self._call(f"./{name}", *options)
        if any(sign in told for sign in INCOMPLETE):
            raise SpinError(f"the search is not complete; try a smaller budget or fewer accounts: {told[-2000:]}")
        return told

    def stories(self, broken: list[str]) -> dict[str, tuple[str, ...]]:
        """The trails of a search in words; the verifier writes one for each promise, in the order in which it found them."""
        if not broken:
            return {}
        self.compile("replay", *REPLAY, PLAIN)
        stories = {}
        for number, promise in enumerate(broken, 1):
            told = self._call("./replay", "-r", f"model.pml{number}.trail")
            stories[promise] = tuple(line for line in told.splitlines() if TOLD.match(line))
        return stories

    def _call(self, program: str, *arguments: str) -> str:
        if "/" not in program and shutil.which(program) is None:
            raise SpinError(f"{program} is not installed: apt-get install {program}")
        try:
            done = subprocess.run(  # noqa: S603 - the program and its options are ours
                [program, *arguments],
                cwd=self._folder,
                capture_output=True,
                text=True,
                timeout=self._timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SpinError(f"{program} did not end within {self._timeout:g} s; try a smaller budget") from error
        return done.stdout + done.stderr
