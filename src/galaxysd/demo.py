"""The story so far on one page: prompts become galaxies, one galaxy follows its prompt, phrases get weight.

In: a model. Out: a folder with the galaxies of the contact sheet (`galaxies/`, as `galaxysd generate` writes them) and
`index.html`. Galaxies that are there are kept, so the same command again only draws the page anew.
"""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.generation.generate import GenerateReport, generate
from galaxysd.generation.manifest import read_manifest
from galaxysd.generation.table import PromptTable
from galaxysd.generation.walks import Walk, interpolation, same_seed, weight_sweep
from galaxysd.prompts import explain
from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.reports.html import Code, Figure, Part, Section, Table, build_page

EXTRAPOLATION = "early type with a dust lane"

# The sixteen kinds of the paper's figure, as a person types them: no survey, no weight. The program picks the frame.
PROMPTS = {
    "cigar-shaped": "cigar shaped galaxy",
    "completely round": "completely round galaxy",
    "edge-on": "edge-on galaxy",
    "in between": "in-between round galaxy",
    "ring": "ring galaxy",
    "four arms": "spiral galaxy with 4 spiral arms",
    "two arms, loosely wound": "spiral galaxy, 2 spiral arms, loosely wound",
    "tightly wound": "spiral galaxy with tightly wound spiral arms",
    "just noticeable bulge": "spiral galaxy with just noticeable bulge",
    "obvious bulge": "spiral galaxy with obvious bulge",
    EXTRAPOLATION: "smooth, in-between round galaxy, dust lane",
    "edge-on, dust lane": "edge-on galaxy, dust lane, with rounded edge-on bulge",
    "bar": "barred spiral galaxy",
    "edge-on, rounded bulge": "edge-on galaxy with rounded edge-on bulge",
    "round merger": "in-between round galaxy, merger",
    "spiral merger": "spiral galaxy, just noticeable bulge, merger",
}
WALKS = (
    ("sdss-r90, completely round galaxy", "sdss-r90, cigar shaped galaxy"),
    ("sdss-r90, spiral galaxy, no bar", "sdss-r90, spiral galaxy, bar"),
)
CHANGES = (
    "sdss-r90, completely round galaxy",
    "sdss-r90, in-between round galaxy",
    "sdss-r90, cigar shaped galaxy",
    "sdss-r90, edge-on galaxy",
    "sdss-r90, spiral galaxy",
    "sdss-r90, barred spiral galaxy",
    "sdss-r90, ring galaxy",
    "sdss-r90, merger",
)
SWEEPS = (
    "efigi, edge-on galaxy, {dust lane:<w>}",
    "sdss-r90, spiral galaxy, {bar:<w>}",
)
WEIGHTS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
EXPLAINED = "sdss, smooth, 2 spiral arms, {dust lane:1.3}"
WALK_SEEDS = 2


@dataclass(frozen=True)
class Demo:
    """What `run_demo` made.

    Attributes:
        page: the HTML file.
        galaxies: how many are on the contact sheet.
        left_out: titles of prompts that this model does not understand.
        seconds: by chapter, s.
    """

    page: Path
    galaxies: int
    left_out: tuple[str, ...]
    seconds: dict[str, float]


class _Clock:
    """Time by chapter."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def chapter(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)


def run_demo(out: str | Path = "demo", *, model: str = "mini", device: str = "cpu", seed: int = 0, n: int = 8) -> Demo:
    """Dream the demo's galaxies and write its page.

    Args:
        out: folder; new, empty, or of an earlier demo with the same arguments.
        model: a shipped model or a model folder. Prompts with words it does not know are left out, and named.
        device: where to compute.
        seed: of the first galaxy.
        n: galaxies per prompt.

    Raises:
        InputError: no such model or device, the folder holds something else, or it cannot be written.
    """
    out, clock = Path(out), _Clock()
    if out.exists() and (not out.is_dir() or not {path.name for path in out.iterdir()} <= {"galaxies", "index.html"}):
        raise InputError(f"{out}: exists and is not an earlier demo; choose another folder")
    with clock.chapter("loading the model"):
        pipeline = GalaxyPipeline.from_pretrained(model, device=device)
    prompts = {title: prompt for title, prompt in PROMPTS.items() if understands(pipeline, prompt)}
    left_out = tuple(title for title in PROMPTS if title not in prompts)
    with clock.chapter(f"{len(prompts)} prompts x {n} galaxies"):
        requests = PromptTable.of(list(prompts.values()), n)
        report = generate(pipeline, requests, out=out / "galaxies", model=model, seed=seed)
    with clock.chapter("walks"):
        walks = _walk_all(pipeline, seed)
    rate = "kept from an earlier demo" if report.already_done else f"{report.galaxies / report.seconds:.1f} galaxies/s"
    sections = [
        _gallery(prompts, left_out, report, out / "galaxies", n),
        *walks,
        _understanding(pipeline),
        _again(prompts, report, model, n),
        _timings(clock.seconds, rate),
    ]
    page = build_page(
        out / "index.html",
        title="Galaxies on request",
        lead="Every galaxy on this page was dreamed by a model that learned what the words mean from the votes of "
        "volunteers. None of them exists.",
        sections=sections,
        footer=f"model {model} ({pipeline.model_hash}), first seed {seed}, device {device}",
    )
    return Demo(page, report.galaxies, left_out, clock.seconds)


def understands(pipeline: GalaxyPipeline, prompt: str) -> bool:
    """Whether the model knows all words of a prompt."""
    try:
        pipeline.understand(prompt)
    except InputError:
        return False
    return True


def _gallery(
    prompts: dict[str, str], left_out: tuple[str, ...], report: GenerateReport, folder: Path, n: int
) -> Section:
    images = np.stack([_read(folder / row["file"]) for row in read_manifest(report.manifest)])
    rows = list(zip(prompts, np.split(images, len(prompts)), strict=True))
    parts: list[Part] = [
        f"{len(prompts)} requests, {n} galaxies each, none of them picked by hand.",
        Figure(
            contact_sheet(rows),
            alt=f"Contact sheet: a row of {n} dreamed galaxies for each of {', '.join(prompts)}",
            caption="A row per request; the words of each are in the table below.",
        ),
        Table(("row", "prompt"), [(title, prompt or "(empty)") for title, prompt in prompts.items()]),
    ]
    if EXTRAPOLATION in prompts:
        parts.insert(
            1,
            f"One row is an extrapolation, {EXTRAPOLATION}: every such galaxy was kept out of the training of the "
            "shipped model. It has seen smooth galaxies and it has seen dust lanes, never one with the other.",
        )
    if left_out:
        parts.append(f"Left out, because this model does not know the words: {'; '.join(left_out)}.")
    return Section("What was asked for, and what came", parts)


def _walk_all(pipeline: GalaxyPipeline, seed: int) -> list[Section]:
    """Chapters on interpolation, one seed under many prompts, and weights."""
    seeds = range(seed, seed + WALK_SEEDS)
    known = {text for text in (*CHANGES, *(end for ends in WALKS for end in ends)) if understands(pipeline, text)}
    changes = [prompt for prompt in CHANGES if prompt in known]
    walks = [ends for ends in WALKS if set(ends) <= known]
    sweeps = [template for template in SWEEPS if understands(pipeline, template.replace("<w>", "1"))]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        jobs = (len(walks) + 1 + len(sweeps)) * WALK_SEEDS
        task = bar.add_task("walking", total=jobs)

        def counted(walk: Walk) -> Walk:
            bar.advance(task)
            return walk

        between = {ends: [counted(interpolation(pipeline, *ends, seed=one)) for one in seeds] for ends in walks}
        same = [counted(same_seed(pipeline, changes, seed=one)) for one in seeds] if changes else []
        weighed = {text: [counted(weight_sweep(pipeline, text, WEIGHTS, seed=one)) for one in seeds] for text in sweeps}
    sections = []
    if between:
        text = "The same noise, while the request moves in even steps from one morphology to another."
        figures = [_figure(walks, f"From “{start}” to “{end}”.") for (start, end), walks in between.items()]
        sections.append(Section("Between two morphologies", [text, *figures]))
    if same:
        text = "One seed, one start, different words: what stays comes from the noise, what changes from the words."
        caption = f"From left to right: {'; '.join(changes)}."
        sections.append(Section("One seed, many prompts", [text, _figure(same, caption)]))
    if weighed:
        text = "A phrase in braces carries a weight: {dust lane:1.3} asks more strongly than dust lane does."
        weights = ", ".join(f"{weight:g}" for weight in WEIGHTS)
        figures = [_figure(walks, f"“{template}” with w = {weights}.") for template, walks in weighed.items()]
        sections.append(Section("More of it, less of it", [text, *figures]))
    return sections


def _figure(walks: list[Walk], caption: str) -> Figure:
    rows = [(f"seed {walk.seed}", walk.images) for walk in walks]
    alt = f"Rows of {len(walks[0].images)} dreamed galaxies. {caption}"
    return Figure(contact_sheet(rows), alt=alt, caption=caption)


def _understanding(pipeline: GalaxyPipeline) -> Section:
    text = (
        "A prompt is read into answers to the questions that the volunteers were asked; what it leaves open stays "
        "open. galaxysd prompt shows this for any text, with contradictions and with what the model has rarely seen."
    )
    if not understands(pipeline, EXPLAINED):
        return Section("How a prompt is understood", [text])
    reading = explain(EXPLAINED, pipeline.vocabulary, pipeline.record.evidence or None)
    rows = []
    for item in reading.statements:
        seen = "?" if item.seen is None else f"{item.seen:,}"
        rows.append((item.text, item.phrase, f"{item.fraction:g}", f"{item.weight:g}", seen))
    notes = [
        *(f"Contradiction: {note}." for note in reading.contradictions),
        *(f"Left open: {note}." for note in reading.assumed),
        *(f"Training: {note}." for note in reading.thin),
    ]
    columns = ("question", "answer asked for", "share", "weight", "training galaxies")
    parts: list[Part] = [
        Code(shlex.join(["galaxysd", "prompt", EXPLAINED])),
        Table(columns, rows, caption=f"“{EXPLAINED}”"),
    ]
    return Section("How a prompt is understood", [text, *parts, *notes])


def _again(prompts: dict[str, str], report: GenerateReport, model: str, n: int) -> Section:
    text = (
        "A galaxy is its prompt and its seed. galaxies/manifest.parquet has a row for each with everything needed to "
        "dream it again; these commands repeat the first figure, pixel for pixel on the same kind of machine."
    )
    options = [(str(report.seed + index * n), f"again-{index:02d}") for index in range(len(prompts))]
    lines = [
        shlex.join(["galaxysd", "generate", prompt, "-n", str(n), "--seed", seed, "--model", model, "--out", out])
        for prompt, (seed, out) in zip(prompts.values(), options, strict=True)
    ]
    return Section("Dream them again", [text, Code("\n".join(lines))])


def _timings(seconds: dict[str, float], rate: str) -> Section:
    rows = [(name, f"{value:.1f} s") for name, value in seconds.items()]
    return Section("How long it took", [Table(("chapter", "time"), [*rows, ("contact sheet", rate)])])


def _read(path: Path) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); remove the demo folder and start again") from None
