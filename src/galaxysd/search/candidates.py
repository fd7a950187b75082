"""From scores to candidates: the top of the list, each with its reasons.

In: the parts that `score.py` wrote, the survey, generated and known examples, an encoder. Out: a table of candidates,
and their pictures with the occlusion map drawn over them.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from galaxysd.data.decode import decode
from galaxysd.data.export import write_png
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.search.explanations import nearest, occlusion, overlay
from galaxysd.search.score import scan_scores
from galaxysd.search.survey import Survey
from galaxysd.types import Floats, Pixels

PICTURES = "candidates"  # folder of pictures
COLUMNS = {
    "rank": pl.Int64,
    "id": pl.String,
    "ra": pl.Float64,
    "dec": pl.Float64,
    "score": pl.Float64,
    "spread": pl.Float64,
    "nearest_generated": pl.String,
    "generated_distance": pl.Float64,
    "nearest_known": pl.String,
    "known_distance": pl.Float64,
    "image": pl.String,
    "why": pl.String,
}


def top(scores: Path, n: int, *, better: pl.DataFrame | None = None, exclude: Collection[str] = ()) -> pl.DataFrame:
    """The n best galaxies.

    Args:
        scores: folder of the parts.
        n: how many.
        better: `id`, `score`, `spread` that replace those of the parts.
        exclude: ids that are left out.

    Returns:
        `rank` from 1, `id`, `score`, `spread`; of equal scores the surer one comes first, then by id.
    """
    columns = ("id", "score", "spread")
    listed = scan_scores(scores).filter(pl.col("score").is_not_null()).select(columns)
    if better is not None:
        listed = pl.concat([listed.join(better.lazy(), on="id", how="anti"), better.lazy().select(columns)])
    return (
        listed.filter(~pl.col("id").is_in(list(exclude)))
        .sort("score", "spread", "id", descending=[True, False, False])
        .head(n)
        .collect()
        .with_row_index("rank", offset=1)
        .cast({"rank": pl.Int64})
    )


def explain_candidates(
    ranked: pl.DataFrame,
    survey: Survey,
    score: Callable[[Pixels], Floats],
    encoder: Encoder,
    *,
    generated: GalaxySet,
    known: GalaxySet,
    out: Path,
    mapped: int,
) -> pl.DataFrame:
    """Add position, nearest examples and pictures to ranked galaxies.

    Args:
        ranked: of `top`.
        survey: they are in.
        score: probabilities of the target [N] of uint8 [N, S, S, 3], for the occlusion maps.
        encoder: in whose features examples are near.
        generated: generated galaxies of the target.
        known: real examples of the target; may be empty.
        out: folder for `candidates/NNNNN.png` and, of the first `mapped`, `candidates/NNNNN-why.png`.
        mapped: candidates with an occlusion map.

    Returns:
        A row per candidate, columns `COLUMNS`; null where there is nothing to say.
    """
    found = survey.pixels(ranked["id"].to_list())
    positions = survey.positions()
    images = np.stack([found[name] for name in ranked["id"]]) if len(ranked) else np.empty((0, 8, 8, 3), np.uint8)
    near = {
        name: _nearest_of(images, gallery, encoder) for name, gallery in (("generated", generated), ("known", known))
    }
    rows = []
    for place, row in enumerate(ranked.iter_rows(named=True)):
        picture = f"{PICTURES}/{row['rank']:05d}.png"
        about = {"id": row["id"], "score": row["score"], "spread": row["spread"]}
        write_png(out / picture, images[place], about)
        why = f"{PICTURES}/{row['rank']:05d}-why.png" if place < mapped else None
        if why is not None:
            write_png(out / why, overlay(images[place], occlusion(score, images[place])), about)
        ra, dec = positions.get(row["id"], (None, None))
        rows.append(
            {
                **row,
                "ra": ra,
                "dec": dec,
                "nearest_generated": near["generated"][place][0],
                "generated_distance": near["generated"][place][1],
                "nearest_known": near["known"][place][0],
                "known_distance": near["known"][place][1],
                "image": picture,
                "why": why,
            }
        )
    return pl.DataFrame(rows, schema=COLUMNS)


def _nearest_of(images: Pixels, gallery: GalaxySet, encoder: Encoder) -> list[tuple[str | None, float | None]]:
    if not gallery.ids or not len(images):
        return [(None, None)] * len(images)
    index, distance = nearest(encoder.features(images), encoder.features(gallery.images))
    return [(gallery.ids[place], float(apart)) for place, apart in zip(index, distance, strict=True)]


def pictures(candidates: pl.DataFrame, out: Path, column: str) -> Mapping[int, Pixels]:
    """The pictures of a column (`image` or `why`) by rank, uint8 [S, S, 3]."""
    return {
        rank: decode((out / name).read_bytes(), name)
        for rank, name in candidates.select("rank", column).drop_nulls().iter_rows()
    }
