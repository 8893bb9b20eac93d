"""Installs the package of a page: its modules on the path, with the entry points that its pyproject.toml says."""

from __future__ import annotations

import tomllib
from pathlib import Path


def install(folder: Path) -> None:
    """As pip would leave it, in the folder where its modules are; its pyproject.toml is there, too."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    about = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = (
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()))
    )
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
