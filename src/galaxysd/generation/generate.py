"""From requests to a folder of galaxies with a manifest: streamed, resumable, any number of them.

    OUT/images/<id>.png, .fits     one file per galaxy, or
    OUT/images-NNNNN.parquet       1,000 galaxies each, in the Hugging Face image layout
    OUT/manifest.parquet           one row per galaxy (manifest.py)
    OUT/sheet.png                  the first galaxies of the first prompts
    OUT/settings.yaml, done.json   the run folder (runs.py)

Work is done in parts; a part counts once its manifest rows are on disk, and the same command goes on behind the last
one. Only one part is in memory.
"""

import errno
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from galaxysd.data.export import parquet_images, write_fits, write_png
from galaxysd.diffusion.folder import SamplingSettings
from galaxysd.diffusion.pipeline import GalaxyPipeline, Pixels
from galaxysd.errors import InputError
from galaxysd.generation import manifest
from galaxysd.generation.manifest import Provenance, Row
from galaxysd.generation.table import PromptTable, RequestRow
from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.runs import Run
from galaxysd.settings import Settings

Format = Literal["png", "fits", "parquet"]
FORMATS: tuple[Format, ...] = ("png", "fits", "parquet")

PART = 256  # galaxies between two points to resume from
SHARD = 1000  # galaxies in a Parquet shard, which is then also the part
SHEET_PROMPTS, SHEET_EACH = 24, 8
SHEET_SIDE = 128  # px of a galaxy on the sheet, about
LABEL = 100  # characters

# What a file says of itself. No time, so that the same galaxy is the same file.
PROVENANCE = (
    *("id", "prompt", "caption", "survey", "seed", "steps", "guidance", "sampler", "model", "model_hash", "galaxysd"),
)
COLUMNS = tuple(manifest.SCHEMA.field(name) for name in PROVENANCE if name != "id")  # of a Parquet shard


class GenerateSettings(Settings):
    """What makes two runs of `generate` the same."""

    model: str
    model_hash: str
    device: str
    formats: tuple[Format, ...] = Field(min_length=1)
    seed: int
    sampling: SamplingSettings
    galaxies: int
    prompts: tuple[str, ...] = Field(description="the first few")
    requests: str = Field(description="hash of all prompts, counts and seeds")


class GenerateReport(Settings):
    """What `generate` did."""

    out: str
    manifest: str
    sheet: str
    galaxies: int
    prompts: int
    model: str
    model_hash: str
    seed: int
    resumed_at: int = Field(default=0, description="galaxies that were there before")
    seconds: float = Field(description="time spent on the others, s")
    already_done: bool = False


def generate(
    pipeline: GalaxyPipeline,
    requests: PromptTable,
    *,
    out: str | Path,
    model: str,
    formats: Sequence[str] = ("png",),
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
    quiet: bool = False,
) -> GenerateReport:
    """Dream everything that is asked for into a folder, or go on with a folder that was begun by the same call.

    Args:
        pipeline: the model.
        requests: prompts, counts, seeds.
        out: folder; new, empty, or begun by the same call.
        model: the name the model was asked for by; goes into the manifest.
        formats: of the images; the manifest names the file of the first one.
        seed: of the first galaxy.
        steps: default from the model.
        guidance: default from the model.
        sampler: default from the model.
        quiet: no progress bar. There is none anyway where stderr is not a terminal.

    Returns:
        Counts and paths.

    Raises:
        InputError: a prompt, setting or format makes no sense, the folder holds something else, or the disk is full.
    """
    out = Path(out)
    chosen = _formats(formats)
    sampling = pipeline.sampling(steps=steps, guidance=guidance, sampler=sampler)
    provenance = Provenance(pipeline, model, sampling)
    requests.check(pipeline, seed)
    settings = GenerateSettings(
        model=model,
        model_hash=pipeline.model_hash,
        device=provenance.device,
        formats=chosen,
        seed=seed,
        sampling=sampling,
        galaxies=requests.galaxies,
        prompts=tuple(requests.frame["prompt"].head(SHEET_PROMPTS)),
        requests=requests.content_hash(),
    )
    with _disk(out):
        run = Run.open(out, settings)
        if run.summary is not None:
            shutil.rmtree(run.folder / "parts", ignore_errors=True)
            return GenerateReport.parse({**run.summary, "already_done": True}, f"{out}/done.json")
        return _Work(run, requests, provenance, chosen, seed, quiet).finish()


class _Work:
    """A folder being filled."""

    def __init__(
        self,
        run: Run,
        requests: PromptTable,
        provenance: Provenance,
        formats: tuple[Format, ...],
        seed: int,
        quiet: bool,
    ) -> None:
        self.run, self.requests, self.provenance, self.formats, self.seed = run, requests, provenance, formats, seed
        self.out, self.parts = run.folder, run.folder / "parts"
        self.part = SHARD if "parquet" in formats else PART
        self.scales = {survey.token: survey.pixel_scale for survey in provenance.pipeline.record.surveys}
        self.console = Console(stderr=True, quiet=quiet)

    def finish(self) -> GenerateReport:
        """Do what is left to do."""
        started = time.monotonic()
        total = self.requests.galaxies
        starts = range(0, total, self.part)
        done = next((index for index in range(len(starts)) if not self._rows_file(index).is_file()), len(starts))
        resumed = min(done * self.part, total)
        self.parts.mkdir(exist_ok=True)
        if not set(self.formats).isdisjoint(("png", "fits")):
            (self.out / "images").mkdir(exist_ok=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal, transient=True) as bar:
            task = bar.add_task("dreaming galaxies", total=total, completed=resumed)
            for index in range(done, len(starts)):
                self._make_part(index, lambda count: bar.advance(task, count))
        manifest.merge([self._rows_file(index) for index in range(len(starts))], self.out / "manifest.parquet")
        self._sheet(len(starts))
        report = GenerateReport(
            out=str(self.out),
            manifest=str(self.out / "manifest.parquet"),
            sheet=str(self.out / "sheet.png"),
            galaxies=total,
            prompts=self.requests.frame.height,
            model=self.provenance.model,
            model_hash=self.provenance.pipeline.model_hash,
            seed=self.seed,
            resumed_at=resumed,
            seconds=round(time.monotonic() - started, 2),
        )
        self.run.finish(report.model_dump(mode="json"))
        shutil.rmtree(self.parts)
        return report

    def _make_part(self, index: int, advance: Callable[[int], None]) -> None:
        """Dream one part and write its files, then its manifest rows, whose presence says that the part is whole."""
        pipeline = self.provenance.pipeline
        start = index * self.part
        items = list(self.requests.items(pipeline, self.seed, start, start + self.part))
        rows = self.provenance.rows(items, [self._file(item, index) for item in items])
        waiting, drawn = iter(rows), iter(items)
        shown: list[Pixels] = []
        with parquet_images(self._shard(index), COLUMNS) if "parquet" in self.formats else nullcontext() as shard:
            for requests, images in pipeline.dream((item.request for item in items), self.provenance.sampling):
                batch = list(islice(waiting, len(requests)))
                for image, row in zip(images, batch, strict=True):
                    self._write_image(image, row)
                if shard is not None:
                    provenance = [{field.name: row[field.name] for field in COLUMNS} for row in batch]
                    shard.write([row["id"] for row in batch], images, provenance)
                shown += [images[place] for place, item in enumerate(islice(drawn, len(requests))) if on_sheet(item)]
                advance(len(requests))
        if shown:
            np.save(self._tiles_file(index), np.stack(shown), allow_pickle=False)
        manifest.write_table(self._rows_file(index), pa.Table.from_pylist(rows, schema=manifest.SCHEMA))

    def _write_image(self, image: Pixels, row: Row) -> None:
        provenance = {name: row[name] for name in PROVENANCE}
        if "png" in self.formats:
            write_png(self.out / "images" / f"{row['id']}.png", image, provenance)
        if "fits" in self.formats:
            scale = {"pixel_scale": self.scales.get(row["survey"])}
            write_fits(self.out / "images" / f"{row['id']}.fits", image, provenance | scale)

    def _sheet(self, parts: int) -> None:
        """Draw the sheet from the tiles that the parts left behind."""
        tiles = (self._tiles_file(index) for index in range(parts))
        images = np.concatenate([np.load(path, allow_pickle=False) for path in tiles if path.is_file()])
        counts = [min(n, SHEET_EACH) for n in self.requests.frame["n"].head(SHEET_PROMPTS)]
        prompts = self.requests.frame["prompt"].head(SHEET_PROMPTS)
        labels = [shorten(prompt, LABEL, placeholder=" ...") or "(anything)" for prompt in prompts]
        rows = list(zip(labels, np.split(images, np.cumsum(counts)[:-1]), strict=True))
        pipeline = self.provenance.pipeline
        scale = max(1, SHEET_SIDE // pipeline.size)
        sheet = contact_sheet(
            rows, scale=scale, footer=f"{self.provenance.model} {pipeline.model_hash}, seed {self.seed}"
        )
        temporary = self.out / "sheet.png.tmp"
        sheet.save(temporary, format="PNG")
        temporary.replace(self.out / "sheet.png")

    def _file(self, item: RequestRow, index: int) -> str:
        """Name of the file with a galaxy's image, relative to the folder. Made from its id, never from its prompt."""
        kind = self.formats[0]
        return self._shard(index).name if kind == "parquet" else f"images/{item.id}.{kind}"

    def _shard(self, index: int) -> Path:
        return self.out / f"images-{index:05d}.parquet"

    def _rows_file(self, index: int) -> Path:
        return self.parts / f"manifest-{index:06d}.parquet"

    def _tiles_file(self, index: int) -> Path:
        return self.parts / f"sheet-{index:06d}.npy"


def on_sheet(item: RequestRow) -> bool:
    """Whether a galaxy is drawn on the contact sheet."""
    return item.row < SHEET_PROMPTS and item.number < SHEET_EACH


def _formats(formats: Sequence[str]) -> tuple[Format, ...]:
    if not formats:
        raise InputError(f"no format is given; choose of {', '.join(FORMATS)}")
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"format {name!r} is not one of {', '.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in formats)


@contextmanager
def _disk(out: Path) -> Iterator[None]:
    """A disk that is full or cannot be written to is the user's to repair."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{out}: the disk is full; what is finished is kept, free some space and give the same command again"
            ) from None
        raise InputError(f"{out}: cannot be written ({error.strerror or error})") from None
