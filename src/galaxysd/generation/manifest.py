"""The manifest: one row per dreamed galaxy with everything it takes to dream it again.

In: items, pixels and sampling settings. Out: rows, Parquet files of them, and `regenerate`, which turns a row back into
the same pixels.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import galaxysd
from galaxysd.diffusion.folder import SamplingSettings
from galaxysd.diffusion.guidance import GuidanceSettings
from galaxysd.diffusion.pipeline import GalaxyPipeline, Request, check_seed
from galaxysd.errors import InputError
from galaxysd.generation.table import UNDERSTOOD, RequestRow
from galaxysd.prompts import Morphology

# every guidance setting has its column, so that a row repeats its galaxy: `guidance` is the scale
GUIDANCE = {"scale": "guidance"} | {
    name: f"guidance_{name}" for name in GuidanceSettings.model_fields if name != "scale"
}
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("file", pa.string()),
        ("prompt", pa.string()),
        ("caption", pa.string()),
        ("morphology", pa.string()),
        ("survey", pa.string()),
        ("seed", pa.int64()),
        ("steps", pa.int32()),
        *((column, pa.float64()) for column in GUIDANCE.values()),
        ("sampler", pa.string()),
        ("model", pa.string()),
        ("model_hash", pa.string()),
        ("device", pa.string()),
        ("galaxysd", pa.string()),
        ("torch", pa.string()),
        ("time", pa.timestamp("s", tz="UTC")),
    ]
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Provenance:
    """Who dreams, and how: what all rows of a manifest share.

    Attributes:
        pipeline: the model.
        model: the name it was asked for by.
        sampling: steps, guidance, sampler.
    """

    pipeline: GalaxyPipeline
    model: str
    sampling: SamplingSettings

    @property
    def device(self) -> str:
        """Kind of device: `cpu`, `cuda`, …"""
        return next(self.pipeline.denoiser.parameters()).device.type

    def rows(self, items: Iterable[RequestRow], files: Iterable[str]) -> list[Row]:
        """Manifest rows of some galaxies and the files they are in."""

        @lru_cache(maxsize=UNDERSTOOD)
        def texts(morphology: Morphology) -> tuple[str, str]:
            return self.pipeline.caption(morphology), morphology.model_dump_json()

        now = datetime.now(UTC).replace(microsecond=0)
        rows = []
        for item, file in zip(items, files, strict=True):
            caption, morphology = texts(item.request.morphology)
            row = {
                "id": item.id,
                "file": file,
                "prompt": item.prompt,
                "caption": caption,
                "morphology": morphology,
                "survey": item.request.morphology.survey,
                "seed": item.request.seed,
                "steps": self.sampling.steps,
                **{column: getattr(self.sampling.guidance, name) for name, column in GUIDANCE.items()},
                "sampler": self.sampling.sampler,
                "model": self.model,
                "model_hash": self.pipeline.model_hash,
                "device": self.device,
                "galaxysd": galaxysd.__version__,
                "torch": torch.__version__,
                "time": now,
            }
            rows.append(row)
        return rows


def regenerate(pipeline: GalaxyPipeline, row: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """Dream the galaxy of a manifest row again.

    Args:
        pipeline: the model that made it.
        row: a row of `manifest.parquet`.

    Returns:
        uint8 [S, S, 3], the same pixels on the same kind of device.

    Raises:
        InputError: another model made it, or the row lacks a value or holds a wrong one.
    """
    missing = [name for name in SCHEMA.names if name not in row]
    if missing:
        raise InputError(f"manifest row {row.get('id', '?')}: {missing[0]!r} is missing")
    name = f"manifest row {row['id']}"
    if row["model_hash"] != pipeline.model_hash:
        raise InputError(f"{name}: was made by model {row['model_hash']}, not by this one ({pipeline.model_hash})")
    try:
        values = json.loads(row["morphology"])
    except (TypeError, json.JSONDecodeError):
        raise InputError(f"{name}: the morphology is not valid JSON") from None
    morphology = pipeline.understand(Morphology.parse(values, name))
    sampling = SamplingSettings.parse(
        {
            "sampler": row["sampler"],
            "steps": row["steps"],
            "guidance": {name: row[column] for name, column in GUIDANCE.items()},
        },
        name,
    )
    check_seed(row["seed"])
    ((_, images),) = pipeline.dream([Request(morphology, row["seed"])], sampling)
    image: npt.NDArray[np.uint8] = images[0]
    return image


def write_table(path: Path, table: pa.Table) -> None:
    """One Parquet file that is whole or not there."""
    temporary = path.with_name(path.name + ".tmp")
    pq.write_table(table, temporary)
    temporary.replace(path)


def merge(parts: Sequence[Path], path: Path) -> None:
    """The rows of all parts in one file, a part in memory at a time."""
    temporary = path.with_name(path.name + ".tmp")
    with pq.ParquetWriter(temporary, SCHEMA) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part, schema=SCHEMA))
    temporary.replace(path)


def read_manifest(path: str | Path) -> list[Row]:
    """All rows of a manifest, given as the file or the folder it is in.

    Raises:
        InputError: not there, not Parquet, or of other columns.
    """
    path = Path(path)
    path = path / "manifest.parquet" if path.is_dir() else path
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as a manifest ({str(error).splitlines()[0]})") from None
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: is not a manifest, column {missing[0]!r} is missing")
    rows: list[Row] = table.select(SCHEMA.names).to_pylist()
    return rows
