"""Contact sheets: every image is on the sheet, pixel by pixel, beside its label."""

import numpy as np
import pytest

from galaxysd.reports.contact_sheet import GROUND, LABEL_WIDTH, MARGIN, contact_sheet


def solid(*levels: int) -> np.ndarray:
    return np.stack([np.full((8, 8, 3), level, np.uint8) for level in levels])


def test_every_image_is_drawn_enlarged() -> None:
    sheet = contact_sheet([("one", solid(50, 100, 150)), ("two", solid(200))], scale=3)
    drawn = np.asarray(sheet)[:, MARGIN + LABEL_WIDTH :]
    for level in (50, 100, 150, 200):
        assert (drawn == level).all(axis=2).sum() == 24 * 24
    assert (np.asarray(sheet)[:, :LABEL_WIDTH] != GROUND).any()  # the labels


def test_long_rows_wrap() -> None:
    flat = contact_sheet([("row", solid(*range(50, 60)))])
    wrapped = contact_sheet([("row", solid(*range(50, 60)))], columns=4)
    assert wrapped.width < flat.width
    assert wrapped.height > flat.height
    drawn = np.asarray(wrapped)
    assert all((drawn == level).all(axis=2).sum() == 256 for level in range(50, 60))


def test_title_and_footer_take_their_own_room() -> None:
    rows = [("a label far too long for one line of this column of labels", solid(90))]
    bare, full = contact_sheet(rows, scale=8), contact_sheet(rows, scale=8, title="Title", footer="seed 0")
    assert full.height == bare.height + 30 + 22
    top, bottom = np.asarray(full)[: MARGIN + 22], np.asarray(full)[-30:]
    assert (top != GROUND).any()
    assert (bottom != GROUND).any()


def test_label_stays_in_its_column() -> None:
    sheet = contact_sheet([("WWWWWWWWWWWWWWWWWWWW MMMMMMMMMMMMMMMMMMMM", solid(90))], scale=8)
    left = np.asarray(sheet)[:, LABEL_WIDTH + MARGIN - 2 : LABEL_WIDTH + MARGIN]
    assert (left == GROUND).all()


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="none"):
        contact_sheet([])
    with pytest.raises(ValueError, match="one size"):
        contact_sheet([("a", solid(1)), ("b", np.zeros((1, 4, 4, 3), np.uint8))])
