"""Score every galaxy of a survey, chunk by chunk, on one process or on Ray.

In: a `Survey` and a ranker (ranker.py). Out: OUT/part-NNNNN.parquet, one per chunk: `id`, `score` (probability of
the target, mean over the ensemble), `spread` (standard deviation over it), `problem` (why an image has no score). A
part appears when it is whole, and is not made twice: a search that was cut off goes on, and a worker that died changes
nothing.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from galaxysd.data.framing import Framing
from galaxysd.errors import InputError
from galaxysd.io import replacing
from galaxysd.search.ray_engine import on_ray
from galaxysd.search.survey import Chunk, Survey, read_chunk
from galaxysd.settings import FrozenModel
from galaxysd.types import Floats, Pixels

Ranker = Callable[[Pixels], tuple[Floats, Floats]]  # uint8 [B, S, S, 3] -> score [B], spread [B]
Engine = Literal["process", "ray"]

ENGINES: tuple[Engine, ...] = ("process", "ray")
SCHEMA = pa.schema([("id", pa.string()), ("score", pa.float64()), ("spread", pa.float64()), ("problem", pa.string())])


class ScoreReport(FrozenModel):
    """What scoring did."""

    images: int = Field(description="images of the survey")
    broken: int = Field(description="images that cannot be read; the parts say why")
    resumed: int = Field(description="images that an earlier call had scored")
    seconds: float = Field(description="time spent on the others, s")


def score_survey(
    survey: Survey,
    ranker: Ranker,
    out: str | Path,
    *,
    engine: Engine = "process",
    workers: int | None = None,
) -> ScoreReport:
    """Score what is not scored yet.

    Args:
        survey: what to search.
        ranker: who scores; Ray sends it to its processes.
        out: folder of the parts.
        engine: `process`, or `ray` for more than one machine can hold or do.
        workers: processes of Ray, by default one per core.

    Raises:
        InputError: an unknown engine, or a file of the survey cannot be read.
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r}: expected one of {', '.join(ENGINES)}")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    waiting = [chunk for chunk in survey.chunks if not part_file(out, chunk).is_file()]
    resumed = len(survey) - sum(chunk.count for chunk in waiting)
    began = time.monotonic()
    if waiting:
        score = partial(score_chunk, framing=survey.framing, out=out.resolve())
        done = on_ray(waiting, score, ranker, workers) if engine == "ray" else _here(waiting, score, ranker)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
            bar = progress.add_task("scoring galaxies", total=len(survey), completed=resumed)
            for count in done:
                progress.advance(bar, count)
    return ScoreReport(
        images=len(survey),
        broken=broken_images(out).height,
        resumed=resumed,
        seconds=round(time.monotonic() - began, 2),
    )


def score_chunk(chunk: Chunk, ranker: Ranker, *, framing: Framing, out: Path) -> int:
    """Score one chunk and write its part; returns the number of its images."""
    rows: list[tuple[str, float | None, float | None, str | None]] = []
    for shown in read_chunk(chunk, framing):
        if shown.ids:
            scores, spreads = ranker(shown.pixels)
            rows += zip(shown.ids, scores.tolist(), spreads.tolist(), [None] * len(shown.ids), strict=True)
        rows += [(name, None, None, reason) for name, reason in shown.broken]
    values = [list(column) for column in zip(*rows, strict=True)]
    with replacing(part_file(out, chunk)) as partial:
        pq.write_table(pa.table(values, schema=SCHEMA), partial)
    return chunk.count


def part_file(out: Path, chunk: Chunk) -> Path:
    """Where the scores of a chunk lie."""
    return out / f"part-{chunk.index:06d}.parquet"


def scan_scores(out: Path) -> pl.LazyFrame:
    """All parts, lazily."""
    return pl.scan_parquet(sorted(out.glob("part-*.parquet")))


def broken_images(out: Path) -> pl.DataFrame:
    """Id and reason of the images without a score."""
    return scan_scores(out).filter(pl.col("score").is_null()).select("id", reason="problem").collect()


def _here(chunks: list[Chunk], score: Callable[[Chunk, Ranker], int], ranker: Ranker) -> Iterator[int]:
    for chunk in chunks:
        yield score(chunk, ranker)
