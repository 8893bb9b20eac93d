"""A gateway that leaves its whole journal behind when it has ended, and else is `tests.real.stubborn_gateway`.

`python -m tests.replay.recording_gateway` writes `journal.jsonl` into the working folder, its stop included:
what GET /api/v1/journal?format=jsonl would answer, if anybody could still ask.
"""

from __future__ import annotations

import json
from pathlib import Path

from gateway.app import App
from gateway.cli import run
from gateway.export import exported, header
from gateway.journal import KEPT
from tests.real.stubborn_gateway import main

JOURNAL = Path("journal.jsonl")


class RecordingApp(App):
    """Writes its journal when its end has been decided."""

    async def _tear_down(self) -> None:
        entries = self._journal.page(0, KEPT)
        lines = [header(self._journal, entries, self._boot.id), *exported(self._journal, entries)]
        JOURNAL.write_text("".join(json.dumps(self._redactor.tree(line)) + "\n" for line in lines))
        await super()._tear_down()


if __name__ == "__main__":
    run.App = RecordingApp  # type: ignore[attr-defined]
    raise SystemExit(main())
