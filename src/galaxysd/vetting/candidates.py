"""Candidates and the search they come from, checked before they are stored or shown.

In: the table that a search ranked (Parquet or CSV), which may come from anyone. Out: `Candidate`s whose texts, numbers
and positions are what they should be, each id and rank once; the first row that is not is named.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

import polars as pl
from pydantic import AfterValidator, Field, FiniteFloat, StringConstraints, model_validator

from galaxysd.catalog.catalog import first_line
from galaxysd.errors import InputError
from galaxysd.settings import FrozenModel

MOST_IMAGE = 4 * 2**20  # bytes


def printable(text: str) -> bool:
    """Whether a text holds no control characters and no halves of characters."""
    return all(letter.isprintable() for letter in text)


def _clean(text: str) -> str:
    """Refuse what no database, FITS header or page should hold: control characters and halves of characters."""
    if not printable(text):
        raise ValueError("holds a character that cannot be printed")
    if text != text.strip():
        raise ValueError("begins or ends with a space")
    return text


Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_clean)]
Line = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_clean)]


class Search(FrozenModel):
    """What was searched for, where and with what."""

    name: Name = Field(description="unique in a store, e.g. 'dust lanes, round 2'")
    target: Line = Field(min_length=1, description="prompt of the target")
    survey: Name = Field(description="name of the survey that was searched")
    survey_hash: Name = Field(description="identity of its images")
    model_hash: Name = Field(description="identity of what scored: generator, encoder, examples and settings")
    galaxies: int = Field(ge=1, description="galaxies that were scored, candidates or not")


class Candidate(FrozenModel):
    """One galaxy that a search put forward."""

    id: Name = Field(description="of the galaxy in its survey")
    rank: int = Field(ge=1, le=2**31 - 1, description="1 is the best")
    score: float = Field(ge=0, le=1, description="probability of the target, mean over the ensemble")
    spread: float = Field(ge=0, le=1, description="standard deviation over the ensemble")
    ra: FiniteFloat | None = Field(default=None, ge=0, lt=360, description="right ascension (ICRS), deg")
    dec: FiniteFloat | None = Field(default=None, ge=-90, le=90, description="declination (ICRS), deg")
    image: bytes | None = Field(default=None, max_length=MOST_IMAGE, description="PNG, JPEG or FITS")
    image_link: Line | None = Field(default=None, pattern=r"^https?://\S+$", description="address of a picture")
    reasons: tuple[Line, ...] = Field(default=(), max_length=20, description="why it is a candidate")

    @model_validator(mode="after")
    def _whole_position(self) -> Self:
        if (self.ra is None) != (self.dec is None):
            raise ValueError("ra and dec are given together or not at all")
        return self


def read_candidates(path: str | Path) -> list[Candidate]:
    """Read a ranked table: `id`, `rank`, `score`, `spread`; at will `ra`, `dec`, `image`, `image_link`, `reasons`.

    An image is bytes, {bytes, path} as Hugging Face writes it, or the name of a file beside the table, as
    `search/candidates.py` writes it; its nearest generated and known galaxies become reasons. NaN counts as no
    position.

    Raises:
        InputError: the file or an image cannot be read, a column is missing, or a row is not a candidate.
    """
    path = Path(path)
    try:
        frame = (
            pl.read_csv(path, schema_overrides={"id": pl.String}) if path.suffix == ".csv" else pl.read_parquet(path)
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from None
    missing = [name for name in ("id", "rank", "score", "spread") if name not in frame.columns]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} missing; a table of candidates has id, rank, score and spread")
    rows = enumerate(frame.iter_rows(named=True), start=1)
    return checked((_candidate(row, path, f"{path}: row {number}") for number, row in rows), str(path))


def read_search(path: str | Path, *, name: str | None = None) -> Search:
    """The search that wrote a table of candidates: the folder of a round of `discover`, with its table and done.json.

    Args:
        path: OUT/round-N/candidates.parquet.
        name: to call it in a store; None: its target and round.

    Raises:
        InputError: the table or done.json beside it was not written by `discover`.
    """
    path = Path(path)
    try:
        identity = json.loads(pl.read_parquet_metadata(path)["galaxysd"])
        done = json.loads((path.parent / "done.json").read_text(encoding="utf-8"))
        values = {
            "name": name or f"{done['target']}, round {done['round']}",
            "target": done["target"],
            "survey": Path(done["survey"]).name,
            "survey_hash": identity["survey"],
            "model_hash": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16],
            "galaxies": done["images"] - done["broken"],
        }
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: is not a round of `galaxysd discover` ({first_line(error)})") from None
    return Search.parse(values, str(path))


def checked(candidates: Iterable[Candidate], source: str) -> list[Candidate]:
    """The candidates, if there are any and every id and rank is there once.

    Raises:
        InputError: otherwise; names `source` and the id or rank.
    """
    found = list(candidates)
    if not found:
        raise InputError(f"{source}: holds no candidates")
    for what, values in (("id", [one.id for one in found]), ("rank", [one.rank for one in found])):
        value, times = Counter(values).most_common(1)[0]
        if times > 1:
            raise InputError(f"{source}: {what} {value!r} is there {times} times; expected once")
    return found


def _candidate(row: dict[str, Any], path: Path, where: str) -> Candidate:
    """A row of a table as a candidate."""
    values = {name: row[name] for name in Candidate.model_fields if name in row}
    for name in ("ra", "dec"):
        if isinstance(values.get(name), float) and math.isnan(values[name]):
            values[name] = None
    image = values.get("image")
    if isinstance(image, dict):
        values["image"] = image.get("bytes")
    elif isinstance(image, str):
        values["image"] = _beside(path, image, where)
    said = values.get("reasons") or ()
    reasons = [said] if isinstance(said, str) else list(said)
    for kind in ("generated", "known"):
        if row.get(f"nearest_{kind}") is not None:
            reasons.append(f"nearest {kind}: {row[f'nearest_{kind}']}, distance {row[f'{kind}_distance']:.3g}")
    return Candidate.parse({**values, "reasons": tuple(reasons)}, where)


def _beside(path: Path, name: str, where: str) -> bytes:
    """Content of a file in the folder of a table, or below it; never one elsewhere."""
    folder = path.parent.resolve()
    file = (folder / name).resolve()
    if not file.is_relative_to(folder) or not file.is_file():
        raise InputError(f"{where}: image {name!r} is not a file beside the table")
    if file.stat().st_size > MOST_IMAGE:
        raise InputError(f"{where}: image {name!r} is larger than {MOST_IMAGE // 2**20} MiB")
    return file.read_bytes()
