"""What a change of the code's structure must not change is what it was (recompute.py says how to look closer)."""

import json

import pytest
from oracle.recompute import FOLDER, PARTS, difference, recompute


@pytest.mark.parametrize("part", PARTS)
def test_nothing_has_changed(part: str) -> None:
    stored = json.loads((FOLDER / f"{part}.json").read_text(encoding="utf-8"))
    assert difference(stored, recompute(part)) is None
