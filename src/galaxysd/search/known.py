"""Galaxies of a survey that somebody knows already: a list of ids, or of positions on the sky.

In: a table with a column `id`, or with `ra` and `dec` (deg); CSV, Parquet, FITS or VOTable. Out: ids of the survey.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from galaxysd.catalog.sky import directions, nearest_within
from galaxysd.catalog.source import SourceTable
from galaxysd.errors import InputError
from galaxysd.search.survey import Survey

RADIUS = 3.0  # arcsec, within which two positions are the same galaxy


def known_ids(table: str | Path, survey: Survey) -> list[str]:
    """The galaxies of a list that are in the survey, in the order of the survey.

    Ids may carry the survey token in front (`efigi:PGC0000212`).

    Raises:
        InputError: the table cannot be read, has neither ids nor positions, or none of them is in the survey.
    """
    source = SourceTable(table)
    if "id" in source.names:
        listed = source.collect(source.scan({"id": pl.String()}))["id"].drop_nulls().to_list()
        prefix = "" if survey.token is None else f"{survey.token}:"
        wanted = {name.removeprefix(prefix) for name in listed}
        found = [name for _, names in survey.ids() for name in names if name in wanted]
        example = next((names[0] for _, names in survey.ids() if names), "")
        hint = f"the first is {listed[0]!r}, ids of the survey look like {example!r}" if listed else "it is empty"
    elif {"ra", "dec"} <= set(source.names):
        places = source.collect(source.scan({"ra": pl.Float64(), "dec": pl.Float64()})).drop_nulls()
        listed = list(places.iter_rows())
        found = _near(listed, survey)
        hint = f"none lies within {RADIUS:g} arcsec of a galaxy of the survey"
    else:
        raise InputError(f"{table}: has neither a column 'id' nor 'ra' and 'dec' ({', '.join(source.names[:6])})")
    if not found:
        raise InputError(f"{table}: none of its {len(listed)} galaxies is in survey {survey.name}; {hint}")
    return found


def _near(places: Sequence[tuple[float, float]], survey: Survey) -> list[str]:
    """Galaxies of the survey within `RADIUS` of a position."""
    located = [(name, ra, dec) for name, (ra, dec) in survey.positions().items() if ra is not None and dec is not None]
    if not located:
        raise InputError(f"survey {survey.name}: has no positions; list its galaxies by id")
    if not places:
        return []
    names, ra, dec = zip(*located, strict=True)
    _, near = nearest_within(directions(ra, dec), directions(*zip(*places, strict=True)), RADIUS)
    return [name for name, hit in zip(names, near, strict=True) if hit]
