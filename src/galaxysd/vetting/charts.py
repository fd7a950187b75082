"""Finding charts: the galaxies of a catalogue with pictures, positions and what people said, as one HTML page.

In: rows of the catalogue, pictures by id, notes. Out: a page that holds everything itself; ids and notes are untrusted
and escaped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.reports.html import Figure, Part, Section, Table, build_page
from galaxysd.types import Pixels
from galaxysd.vetting.store import Note

ACROSS, DOWN = 6, 4  # galaxies on a chart
SCALE = 2  # CSS pixels per image pixel
HEADINGS = (
    *("rank", "id", "ra, deg", "dec, deg", "position (ICRS)", "score"),
    *("yes/no/unsure", "verdict", "known", "notes"),
)


def sexagesimal(ra: float | None, dec: float | None) -> str:
    """Position as hh:mm:ss.ss +dd:mm:ss.s, truncated to what a finding chart needs; "-" where it is unknown."""
    from astropy import units
    from astropy.coordinates import Angle

    if ra is None or dec is None:
        return "-"
    hours = Angle(ra, units.deg).to_string(unit=units.hourangle, sep=":", precision=2, pad=True)
    degrees = Angle(dec, units.deg).to_string(sep=":", precision=1, pad=True, alwayssign=True)
    return f"{hours} {degrees}"


def write_charts(
    path: str | Path,
    frame: pl.DataFrame,
    pictures: Mapping[str, Pixels],
    notes: Sequence[Note],
    *,
    title: str,
    lead: str,
    about: Sequence[Part] = (),
    footer: str = "",
) -> Path:
    """Write the page.

    Args:
        path: the HTML file.
        frame: rows of the catalogue, in the order to show them.
        pictures: uint8 [S, S, 3] by id, of one size; a galaxy without one is a dark square.
        notes: remarks on these galaxies.
        title: heading.
        lead: one paragraph below it.
        about: what comes before the charts.
        footer: last line.

    Returns:
        The path.
    """
    side = next(iter(pictures.values())).shape[0] if pictures else 64
    dark = np.zeros((side, side, 3), np.uint8)
    said: dict[str, list[str]] = {}
    for note in notes:
        said.setdefault(note.id, []).append(f"{note.author}: {note.text}")
    sections = [Section("What was measured", about)] if about else []
    for chart in frame.iter_slices(ACROSS * DOWN):
        ids, ranks = chart["id"].to_list(), chart["rank"].to_list()
        lines = [
            (
                f"rank {', '.join(str(rank) for rank in ranks[start : start + ACROSS])}",
                np.stack([pictures.get(one, dark) for one in ids[start : start + ACROSS]]),
            )
            for start in range(0, len(ids), ACROSS)
        ]
        sheet = contact_sheet(lines, scale=SCALE)
        table = Table(
            HEADINGS,
            [_cells(row, said.get(row["id"], [])) for row in chart.iter_rows(named=True)],
        )
        figure = Figure(sheet, f"galaxies of rank {ranks[0]} to {ranks[-1]}", "left to right in the order of the table")
        sections.append(Section(f"Ranks {ranks[0]} to {ranks[-1]}", [figure, table]))
    return build_page(path, title=title, lead=lead, sections=sections, footer=footer)


def _cells(row: dict[str, object], said: list[str]) -> list[str]:
    ra, dec = row["ra"], row["dec"]
    placed = isinstance(ra, float) and isinstance(dec, float)
    known = str(row["known"] or "-")
    if row["known_id"]:
        known = f"{row['known_id']} in {row['known_list']}, {row['known_separation']:.1f} arcsec"
    return [
        str(row["rank"]),
        str(row["id"]),
        f"{ra:.6f}" if placed else "-",
        f"{dec:.6f}" if placed else "-",
        sexagesimal(ra, dec) if isinstance(ra, float) and isinstance(dec, float) else "-",
        f"{row['score']:.3f} ± {row['uncertainty']:.3f}",
        f"{row['votes_yes']}/{row['votes_no']}/{row['votes_unsure']}",
        str(row["verdict"]),
        known,
        "; ".join(said),
    ]
