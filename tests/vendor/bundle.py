"""From the packages that `package-lock.json` pins to one module that the page loads when a person opens its editor.

Beside the module are the licences of every package that is in it, and a manifest that says which those are and what the
hash of each file is. Which registry is asked is npm's to know.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from gateway.admin.http import PAGE
from tests.node.packages import NODE, npm_ci

HERE = Path(__file__).parent
VENDORED = PAGE / "vendor"
MODULE, LICENCES, MANIFEST = "codemirror.js", "codemirror.licences.txt", "codemirror.json"
SOURCES = ("package.json", "package-lock.json", "entry.mjs")
OPTIONS = ("--bundle", "--minify", "--format=esm", "--target=es2022", "--charset=utf8", "--legal-comments=none")
BETWEEN = "\n" + "-" * 80 + "\n\n"


def bundle(folder: Path) -> str:
    """Write the module, its licences and its manifest into the folder; what went wrong, or nothing. All of it or none."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for name in SOURCES:
            shutil.copy(HERE / name, place)
        if fault := npm_ci(place):
            return fault
        command: list[str | Path] = [NODE, place / "node_modules/esbuild/bin/esbuild", "entry.mjs", *OPTIONS]
        command += [f"--outfile={MODULE}", "--metafile=meta.json"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr
        packages = _packages(place, json.loads((place / "meta.json").read_text()))
        files = {MODULE: (place / MODULE).read_text(), LICENCES: _licences(place, packages)}
    manifest = {"packages": packages, "sha256": {name: hash_of(text.encode()) for name, text in files.items()}}
    files[MANIFEST] = json.dumps(manifest, indent=2) + "\n"
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return ""


def hash_of(content: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()


def _packages(place: Path, meta: dict[str, Any]) -> dict[str, str]:
    """Those of which something is in the module, by name, with their versions."""
    paths = [Path(path).parts for path in meta["inputs"] if path.startswith("node_modules/")]
    names = sorted({"/".join(parts[1:3] if parts[1].startswith("@") else parts[1:2]) for parts in paths})
    return {name: json.loads((place / "node_modules" / name / "package.json").read_text())["version"] for name in names}


def _licences(place: Path, packages: dict[str, str]) -> str:
    """The text of each. A package that brings none may not be passed on, and ends this."""
    texts = []
    for name, version in packages.items():
        (file,) = (place / "node_modules" / name).glob("LICEN[SC]E*")
        texts.append(f"{name} {version}\n\n{file.read_text().strip()}\n")
    return BETWEEN.join(texts)
