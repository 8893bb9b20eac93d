"""What a gateway does not hold on to until the garbage collector comes, which looks at what is old once in millions of objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.inside import looking_text, seen_inside
from tests.real.process import Gateway
from tests.real.test_bad_texts import EVIL, Unmoved, refusal

LOOK = """\
import gc

def look(message):
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    held = sum(isinstance(text, (str, bytes)) and len(text) > 100_000 for each in gc.garbage for text in gc.get_referents(each))
    gc.garbage.clear()
    return f"{held} large texts"
"""


@pytest.mark.parametrize("road", ["PUT", "PATCH", "config.apply", "config.patch"])
async def test_a_text_that_was_refused(tmp_path: Path, road: str) -> None:
    (tmp_path / "look.py").write_text(LOOK)
    text = looking_text()
    async with Gateway(tmp_path, text) as gateway:
        await seen_inside(gateway)
        house = Unmoved(gateway, await gateway.client(), text)
        for kind in ("half a million values", "deep and never closed", "a key as long as the file"):
            await refusal(house, road, EVIL[kind][0])
        assert await seen_inside(gateway) == "0 large texts"
