"""The container file: read as an engine reads it, and carried out in a folder, as far as that goes without an engine.

What needs one is said: the base image, the user and the namespaces. PID 1 is real: `unshare` makes it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.config.model import RestartSettings
from gateway.process.budget import LIMIT, limit_of
from tests.debian import go_without
from tests.real.process import ROOT, Gateway, config_text

CONTAINERFILE = ROOT / "docs" / "operating" / "Containerfile"
KNOWN = "FROM WORKDIR COPY RUN ENV USER VOLUME EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD"


@dataclass
class Image:
    """What a stage of it comes to."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    """COPY, RUN and WORKDIR, in order."""
    environ: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    """The rest; of what is said twice, the last."""

    def listed(self, name: str) -> list[str]:
        """An instruction in its exec form; in the other one a shell would be PID 1."""
        found: list[str] = json.loads(self.settings[name].partition("CMD ")[2] or self.settings[name])
        return found


def images() -> dict[str, Image]:
    """By the name of the stage; the one that is built has none."""
    found: dict[str, Image] = {}
    image = Image("")
    text = re.sub(r"\\\n", " ", CONTAINERFILE.read_text())
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        assert word in KNOWN.split(), line
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            image = found[name] = Image(base)
        elif word == "ENV":
            key, _, value = rest.partition("=")
            image.environ[key] = value
        elif word in ("COPY", "RUN", "WORKDIR"):
            image.steps.append((word, rest))
        else:
            image.settings[word] = rest
    return found


def test_it_says_what_a_container_needs() -> None:
    build, image = images()["build"], images()[""]
    assert build.base == image.base == "docker.io/library/python:3.11-slim"
    assert image.settings["USER"] == "gateway", "not root"
    assert image.settings["STOPSIGNAL"] == "SIGTERM"
    assert image.listed("VOLUME") == [image.environ["GATEWAY_STATE_DIR"]]
    assert image.listed("ENTRYPOINT")[1:] == ["-m", "gateway"]
    assert image.settings["EXPOSE"] == "18790"
    assert list(image.settings).index("USER") < list(image.settings).index("ENTRYPOINT")


def test_its_stop_limit_is_the_engines_and_the_one_of_its_example_is_long_enough() -> None:
    assert limit_of(images()[""].environ) == 10, "what docker waits"
    given = re.search(rf"--stop-timeout (\d+) -e {LIMIT}=(\d+)", CONTAINERFILE.read_text())
    assert given is not None
    assert given[1] == given[2]
    assert float(given[1]) > RestartSettings().drain_timeout_ms / 1_000


def copied(image: Image, folder: Path) -> None:
    """What COPY takes from the checkout."""
    for word, rest in image.steps:
        if word == "COPY" and not rest.startswith("--from="):
            *sources, target = rest.split()
            for source in sources:
                if (ROOT / source).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(ROOT / source, folder / target, ignore=ignored)
                else:
                    shutil.copy(ROOT / source, folder / target)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for `/`: what is copied is installed there as the file says, but for what it depends on."""
    folder = tmp_path_factory.mktemp("container")
    source = folder / "src"
    source.mkdir()
    copied(images()["build"], source)
    venv, installing = (shlex.split(rest) for word, rest in images()["build"].steps if word == "RUN")
    assert venv == ["python3", "-m", "venv", "/opt/gateway"]
    assert installing == ["/opt/gateway/bin/python", "-m", "pip", "install", "--no-cache-dir", "."]
    # What it depends on is this interpreter's; building needs a backend that may not be here, and is asked for by name.
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "installed"), "."],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0 and "hatchling" in done.stderr + done.stdout:
        go_without("needs hatchling from PyPI, to build the package")
    assert done.returncode == 0, done.stderr
    return folder


class Container(Gateway):
    """Its ENTRYPOINT and CMD as PID 1 of a namespace, with the paths of the image in a folder."""

    def __init__(self, folder: Path, root: Path, text: str) -> None:
        image = images()[""]
        (folder / "state").mkdir()
        mapped = {key: self._mapped(value, folder) for key, value in image.environ.items()}
        environ = mapped | {"PYTHONPATH": str(root / "installed")}
        super().__init__(
            folder, text, command=self._inside(image.listed("ENTRYPOINT") + image.listed("CMD")), **environ
        )
        self.environ = os.environ | environ
        self.healthcheck = [self._interpreter(word) for word in image.listed("HEALTHCHECK")]

    @staticmethod
    def _mapped(path: str, folder: Path) -> str:
        return path.replace("/etc/gateway", str(folder)).replace("/var/lib/gateway", str(folder / "state"))

    @staticmethod
    def _interpreter(word: str) -> str:
        return sys.executable if word == "/opt/gateway/bin/python" else word

    def _inside(self, words: list[str]) -> list[str]:
        return ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *map(self._interpreter, words)]

    @property
    def inner(self) -> int:
        """Its PID, as it is seen out here."""
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    async def healthy(self) -> int:
        """What HEALTHCHECK's command ends with, in its namespace."""
        within = ["nsenter", "--target", str(self.inner), "--pid", "--mount", *self.healthcheck]
        process = await asyncio.create_subprocess_exec(*within, env=self.environ, stderr=asyncio.subprocess.DEVNULL)
        return await process.wait()


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    tried = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        go_without("needs the right to make a PID namespace (unshare)")


async def test_it_starts_is_healthy_and_ends_by_its_stop_signal(tmp_path: Path, root: Path) -> None:
    number = signal.Signals[images()[""].settings["STOPSIGNAL"]]
    container = Container(tmp_path, root, config_text())
    try:
        await container.start()
        assert (await container.status())["process"]["pid"] == 1
        assert (await container.status())["config"]["path"] == str(tmp_path / "gateway.yaml")
        assert (tmp_path / "state" / "lock").read_text() == "1\n"
        assert await container.healthy() == 0
        os.kill(container.inner, number)
        assert await container.wait() == 0
        assert container.log[-1]["event"] == "stopped"
        assert container.log[-1]["budget"] == 9, "a second before the engine kills it"
    finally:
        await container.close()


async def test_it_is_unhealthy_while_its_loop_does_not_turn(tmp_path: Path, root: Path) -> None:
    container = Container(tmp_path, root, config_text())
    try:
        await container.start()
        os.kill(container.inner, signal.SIGSTOP)
        assert await container.healthy() == 1
        os.kill(container.inner, signal.SIGCONT)
        assert await container.healthy() == 0
    finally:
        await container.close()


LEAVES = """\
import os, subprocess, sys
# A grandchild that outlives this program, in a session of its own: it comes to process 1.
subprocess.Popen(["sleep", "0.2"], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                 stderr=subprocess.DEVNULL)
print("left")
"""


async def test_case_64_what_a_handlers_program_leaves_behind_is_let_go(tmp_path: Path, root: Path) -> None:
    (tmp_path / "leaves.py").write_text(LEAVES)
    text = config_text().replace("{type: echo}", f"{{type: command, argv: [{sys.executable}, leaves.py]}}")
    container = Container(tmp_path, root, text)
    try:
        await container.start()
        client = await container.client()
        for number in range(3):
            said = {"sessionKey": "webchat:default:me", "message": "hello", "idempotencyKey": str(number)}
            await client.request("chat.send", said)
        children = Path(f"/proc/{container.inner}/task/{container.inner}/children")
        async with asyncio.timeout(20):
            while not states_of(children) & {"Z"}:
                await asyncio.sleep(0.02)
            while states_of(children):
                await asyncio.sleep(0.1)
        history = (await client.request("chat.history", {"sessionKey": "webchat:default:me"}))["messages"]
        assert str(history).count("left") == 3, "nobody was kept from the end of its own program"
    finally:
        await container.close()


def states_of(children: Path) -> set[str]:
    found = set()
    for pid in children.read_text().split():
        path = Path(f"/proc/{pid}/stat")
        if path.exists():
            found.add(path.read_text().rpartition(")")[2].split()[0])
    return found
