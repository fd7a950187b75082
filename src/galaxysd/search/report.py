"""The page of a search: what was looked for, whether the ranker can be trusted, and the candidates with reasons.

In: the report of `discover` and its table of candidates. Out: one HTML file.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.reports.html import Figure, Part, Section, Table, build_page
from galaxysd.search.candidates import pictures
from galaxysd.types import Pixels

GENERATED = 24  # shown on the page
GAP = 4  # px between the pictures of a candidate


def write_page(
    path: Path, report: dict[str, Any], candidates: pl.DataFrame, *, generated: GalaxySet, known: GalaxySet
) -> Path:
    """Write the page of a round.

    Args:
        path: the HTML file; the pictures of the candidates lie beside it.
        report: `DiscoverReport` as plain values.
        candidates: table of `rank.explain_candidates`.
        generated: generated galaxies of the target.
        known: real examples of the target.

    Returns:
        The path.
    """
    search_target, gap = report["search_target"], report["domain_leak"]
    area = gap["area"]
    verdict = "no sign of a shortcut" if gap["passed"] else "a warning: the style of the dreams may have been learned"
    kinds = [search_target["target"], *search_target["hard_negatives"]]
    taught = Table(
        ("kind", "in words", "examples"),
        [(kind["name"], kind["caption"] or "(anything)", f"{report['examples'][kind['name']]:,}") for kind in kinds]
        + [
            (name, "galaxies of the survey", f"{n:,}")
            for name, n in report["examples"].items()
            if name not in {kind["name"] for kind in kinds}
        ],
        "What the ranker learned from",
    )
    parts: list[Part] = [taught, _strip(generated.images[:GENERATED], "dreams of the target")]
    parts += [f"Warning: {text}." for text in report["warnings"]]
    parts.append(
        f"Do the scores tell dreamed from real galaxies that are not the target? Area {area['value']:.2f} "
        f"({area['low']:.2f} to {area['high']:.2f}; 0.5 is chance): {verdict}."
    )
    shown: list[Part] = [
        "Each row: the galaxy; what raised its score, in orange; the nearest dream of the target; the nearest known "
        "galaxy of the target, if there is one."
    ]
    images, maps = pictures(candidates, path.parent, "image"), pictures(candidates, path.parent, "why")
    for row in candidates.filter(pl.col("why").is_not_null()).iter_rows(named=True):
        tiles = [images[row["rank"]], maps[row["rank"]]]
        for gallery, name in ((generated, row["nearest_generated"]), (known, row["nearest_known"])):
            if name is not None:
                tiles.append(gallery.images[gallery.ids.index(name)])
        place = "" if row["ra"] is None else f", RA {row['ra']:.5f}, Dec {row['dec']:+.5f} deg"
        text = f"{row['rank']}. {row['id']}{place}: score {row['score']:.3f}, spread {row['spread']:.3f}"
        shown.append(Figure(_row(tiles), alt=f"candidate {row['rank']} with its reasons", caption=text, scale=2))
    return build_page(
        path,
        title=f"Search: {report['target']}",
        lead=f"{report['images']:,} galaxies of {report['survey']}, {report['broken']:,} of them unreadable; "
        f"round {report['round']}.",
        sections=[Section("What was looked for", parts), Section("The best candidates", shown)],
        footer=f"generator {report['model_hash']}, seed {report['seed']}",
    )


def _strip(images: Pixels, alt: str, columns: int = 12) -> Figure:
    """Images in rows."""
    rows = [_row(list(images[start : start + columns]), columns) for start in range(0, len(images), columns)]
    return Figure(np.concatenate(rows), alt=alt, caption=alt)


def _row(tiles: list[Pixels], columns: int | None = None) -> Pixels:
    """Images beside each other on a dark ground, uint8 [S + gap, columns (S + gap), 3]."""
    side = tiles[0].shape[0] + GAP
    strip = np.full((side, (columns or len(tiles)) * side, 3), 16, np.uint8)
    for place, tile in enumerate(tiles):
        strip[: side - GAP, place * side : (place + 1) * side - GAP] = tile
    return strip
