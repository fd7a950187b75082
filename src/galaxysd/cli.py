"""The command line: one verb per room, no logic of its own.

Heavy libraries are imported inside the verbs, so that `galaxysd --help` is immediate. Results go to stdout (as JSON
with `--json`), progress and errors to stderr. Exit codes: 0 done, 2 bad input, 130 interrupted.
"""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

import galaxysd
from galaxysd.errors import InputError

if TYPE_CHECKING:
    from galaxysd.catalog.catalog import Catalog
    from galaxysd.settings import Settings

AsJson = Annotated[bool, Parameter(name="--json", negative=(), show_default=False, help="Print the result as JSON.")]
Out = Annotated[Path, Parameter(help="Folder to write to.")]
Seed = Annotated[int, Parameter(help="Seed of everything random.")]
Device = Annotated[str, Parameter(help="Where to compute: cpu, cuda, cuda:1, mps.")]
Limit = Annotated[int | None, Parameter(help="At most so many galaxies.")]
Encoder = Annotated[
    str, Parameter(help="galaxyemb, a trained encoder's folder, pixels, untrained, or transformers:NAME-OR-FOLDER.")
]
Model = Annotated[str, Parameter(help="A shipped model (mini) or a model folder.")]

app = App(
    name="galaxysd",
    help="Dream galaxies of a described morphology, and use them to find the real ones.",
    version=galaxysd.__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
catalog_app = App(name="catalog", help="What people saw: votes and images.", help_format="plaintext")
app.command(catalog_app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _fail(str(error), "; see galaxysd --help")
    except InputError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("galaxysd: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def _fail(message: str, hint: str = "") -> None:
    line = " ".join(message.split())
    print(f"galaxysd: {line.rstrip('.') if hint else line}{hint}", file=sys.stderr)
    sys.exit(2)


def _print(result: dict[str, Any], as_json: bool, text: str) -> None:
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else text)


@app.command
def demo(
    *,
    out: Out = Path("demo"),
    model: Model = "mini",
    n: Annotated[int, Parameter(name=["-n", "--n"], help="Galaxies per prompt.")] = 8,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Show the whole story on this machine and write it as an HTML page."""
    from galaxysd.demo import run_demo

    result = run_demo(out, model=model, device=device, seed=seed, n=n)
    values = {
        "page": str(result.page),
        "galaxies": result.galaxies,
        "left_out": list(result.left_out),
        "seconds": result.seconds,
    }
    lines = [f"{seconds:7.1f} s  {chapter}" for chapter, seconds in result.seconds.items()]
    lines += [f"left out, words unknown to this model: {title}" for title in result.left_out]
    _print(values, as_json, "\n".join([*lines, f"the page is at {result.page.resolve()}"]))


@app.command
def prompt(text: str, /, *, model: Model = "mini", as_json: AsJson = False) -> None:
    """Show how a prompt is understood: answers, weights, contradictions, and how much of it the model has seen."""
    from galaxysd.diffusion.pipeline import GalaxyPipeline
    from galaxysd.prompts import explain, render

    pipeline = GalaxyPipeline.from_pretrained(model)
    explanation = explain(text, pipeline.vocabulary, pipeline.record.evidence or None)
    if as_json:
        _print(explanation.model_dump(mode="json"), True, "")
        return
    from rich.console import Console

    Console().print(render(explanation))


@app.command
def generate(
    *prompts: str,
    table: Annotated[Path | None, Parameter(help="CSV or Parquet with columns prompt, n (or count), seed.")] = None,
    n: Annotated[int, Parameter(name=["-n", "--n"], help="Galaxies per prompt.")] = 1,
    out: Out,
    model: Model = "mini",
    seed: Seed = 0,
    formats: Annotated[
        list[Literal["png", "fits", "parquet"]] | None,
        Parameter(name="--format", consume_multiple=False, negative=(), help="Default png; repeatable."),
    ] = None,
    steps: Annotated[int | None, Parameter(help="Sampling steps; default from the model.")] = None,
    guidance: Annotated[float | None, Parameter(help="Guidance scale, 1 for none; default from the model.")] = None,
    sampler: Annotated[str | None, Parameter(help="euler, heun or dpm++2m; default from the model.")] = None,
    device: Device = "cpu",
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Dream galaxies: images, manifest.parquet and a contact sheet. The same command again resumes."""
    if bool(prompts) == (table is not None):
        raise InputError("generate: give either prompts or --table")
    from galaxysd.diffusion.pipeline import GalaxyPipeline
    from galaxysd.generation.generate import generate as dream
    from galaxysd.generation.table import Requests

    requests = (Requests.read(table, n) if table is not None else Requests.of(prompts, n)).limited(limit)
    report = dream(
        GalaxyPipeline.from_pretrained(model, device=device),
        requests,
        out=out,
        model=model,
        formats=formats or ["png"],
        seed=seed,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
    )
    made = f"{report.galaxies:,} galaxies of {report.prompts:,} prompts"
    what = f"{made} in {report.seconds:g} s" if not report.already_done else f"already done: {made}"
    _print(report.model_dump(mode="json"), as_json, f"{what}\nmanifest  {report.manifest}\nsheet     {report.sheet}")


@app.command
def train(
    *,
    data: Annotated[list[Path], Parameter(consume_multiple=False, negative=(), help="Dataset folder; repeatable.")],
    out: Out,
    recipe: Annotated[
        str, Parameter(help="mini (a generator), encoder, or a YAML file; that of an encoder is called encoder*.yaml.")
    ] = "mini",
    images: Annotated[int | None, Parameter(help="Images to be seen in the end; default from the recipe.")] = None,
    minutes: Annotated[float | None, Parameter(help="Stop after so many minutes; the same command goes on.")] = None,
    settings: Annotated[
        list[str] | None,
        Parameter(name="--set", consume_multiple=False, negative=(), help="key=value of the recipe; repeatable."),
    ] = None,
    seed: Annotated[int | None, Parameter(help="Seed of everything random; default from the recipe.")] = None,
    start: Annotated[str | None, Parameter(name="--from", help="Model to go on from (fine-tuning).")] = None,
    guide: Annotated[str | None, Parameter(help="Smaller, less trained model that is to guide this one.")] = None,
    limit: Limit = None,
    dry_run: Annotated[bool, Parameter(negative=(), show_default=False, help="Print the recipe and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on datasets, or go on with a training."""
    overrides = [*([] if seed is None else [f"fit.seed={seed}"]), *(settings or [])]
    chosen: Settings
    if Path(recipe).stem.startswith("encoder"):
        from galaxysd.embedding.recipe import EncoderRecipe, train_encoder

        if start is not None or guide is not None:
            raise InputError("train: --from and --guide are for generators; an encoder is trained from random weights")
        chosen = encoder = EncoderRecipe.load(recipe, overrides)
        learn = partial(train_encoder, recipe=encoder)
    else:
        from galaxysd.diffusion.recipe import Recipe
        from galaxysd.diffusion.recipe import train as train_generator

        chosen = generator = Recipe.load(recipe, overrides)
        learn = partial(train_generator, recipe=generator, start=start, guide=guide)
    if dry_run:
        values = chosen.model_dump(mode="json")
        _print(values, as_json, json.dumps(values, indent=2))
        return
    result = learn(data, out, images=images, minutes=minutes, limit=limit)
    state = "done" if result["done"] else "stopped; the same command goes on"
    text = f"{state}: {result['images_seen']:,} images seen in {result['seconds']:,.0f} s\nmodel  {result['model']}"
    _print(result, as_json, text)


@app.command
def embed(
    *,
    images: Annotated[Path, Parameter(help="Dataset folder, or a folder or tar of images.")],
    out: Out,
    encoder: Encoder = "galaxyemb",
    orientations: Annotated[Literal[1, 8], Parameter(help="8: mean over turned and flipped images.")] = 1,
    device: Device = "cpu",
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Write the features of images as a table, features.parquet. The same command again reads it."""
    from galaxysd.diffusion.pipeline import find_device
    from galaxysd.embedding.encoders import load_encoder
    from galaxysd.embedding.table import embed as write_features

    chosen = load_encoder(encoder, find_device(device), orientations=orientations)
    report = write_features(images, chosen, out, limit=limit)
    state = "already done" if report.already_done else f"{report.seconds:,.1f} s"
    text = f"{report.galaxies:,} galaxies x {report.dimension} features of {report.encoder} ({state})\n{report.file}"
    _print(report.model_dump(mode="json"), as_json, text)


@app.command
def evaluate(
    *,
    data: Annotated[list[Path], Parameter(consume_multiple=False, negative=(), help="Dataset folder; repeatable.")],
    out: Out,
    model: Model = "mini",
    encoder: Encoder = "galaxyemb",
    n: Annotated[int, Parameter(name=["-n", "--n"], help="Galaxies of each sample.")] = 1000,
    steps: Annotated[int | None, Parameter(help="Sampling steps; default from the model.")] = None,
    guidance: Annotated[float | None, Parameter(help="Guidance scale, 1 for none; default from the model.")] = None,
    sampler: Annotated[str | None, Parameter(help="euler, heun or dpm++2m; default from the model.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Judge a generator against held-out real galaxies: report.json and report.html. The same command resumes."""
    from galaxysd.embedding.encoders import load_encoder
    from galaxysd.evaluation.evaluate import EvaluationSettings
    from galaxysd.evaluation.evaluate import evaluate as judge
    from galaxysd.evaluation.report import summary, write_page

    settings = EvaluationSettings.parse({"n": n, "seed": seed}, "evaluation")
    report = judge(
        data,
        out,
        model=model,
        encoder=load_encoder(encoder),
        settings=settings,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
    )
    page = write_page(report, out)
    _print(report.model_dump(mode="json"), as_json, f"{summary(report)}\nthe report is at {page.resolve()}")


@app.command
def toy(
    *,
    out: Out,
    n: Annotated[int, Parameter(name=["-n", "--n"], help="Number of galaxies.")] = 1000,
    size: Annotated[int, Parameter(help="Side of the images, px.")] = 64,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Make a toy survey of known truth: images and votes, nothing downloaded."""
    from galaxysd.images.toy import make_toy_survey

    folder = make_toy_survey(out, n, seed, size)
    build = f"galaxysd catalog build --votes {folder}/votes.csv --images {folder}/images --survey toy --out DATASET"
    _print({"out": str(folder), "galaxies": n}, as_json, f"{n:,} galaxies in {folder}\nnext: {build}")


@catalog_app.command
def build(
    *,
    votes: Annotated[Path, Parameter(help="Table of votes: CSV, CSV.gz, FITS, VOTable, Parquet.")],
    images: Annotated[Path, Parameter(help="Folder or tar with the images.")],
    survey: Annotated[str, Parameter(help="Survey token, the first word of a prompt.")],
    out: Out,
    tree: Annotated[str, Parameter(help="Decision tree: gz2, efigi, or a YAML file.")] = "gz2",
    schema: Annotated[
        Literal["auto", "galaxy_zoo", "kaggle", "efigi", "table", "classes"], Parameter(help="What the columns mean.")
    ] = "auto",
    fractions: Annotated[Literal["weighted", "debiased"], Parameter(help="Which of Galaxy Zoo 2.")] = "weighted",
    mapping: Annotated[Path | None, Parameter(help="Table objid, sample, asset_id that names the images.")] = None,
    classes: Annotated[Path | None, Parameter(help="YAML that says what hard classes mean.")] = None,
    crop: Annotated[int | None, Parameter(help="Side of the central crop, source px; default the largest.")] = None,
    size: Annotated[int, Parameter(help="Side of the framed images, px.")] = 64,
    pixel_scale: Annotated[float | None, Parameter(help="Arcsec per px of the source images, where known.")] = None,
    like: Annotated[
        list[Path] | None,
        Parameter(consume_multiple=False, negative=(), help="Dataset whose splits the same galaxies keep; repeatable."),
    ] = None,
    withhold: Annotated[
        list[str] | None,
        Parameter(consume_multiple=False, negative=(), help="SQL condition; galaxies that meet it go; repeatable."),
    ] = None,
    well_sampled: Annotated[
        list[str] | None,
        Parameter(consume_multiple=False, negative=(), help="Question that must be well sampled; repeatable."),
    ] = None,
    well_sampled_votes: Annotated[Literal[10, 20], Parameter(help="Votes needed for that.")] = 20,
    balance: Annotated[Path | None, Parameter(help="YAML of class: share; common classes are reduced to it.")] = None,
    add_rare: Annotated[
        list[str] | None,
        Parameter(consume_multiple=False, negative=(), help="Answer whose galaxies are put back; repeatable."),
    ] = None,
    max_rejected: Annotated[float, Parameter(help="Largest share of unusable galaxies.")] = 0.05,
    seed: Seed = 0,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Votes and images to a dataset folder: framed images, fractions, splits."""
    from galaxysd.catalog import DecisionTree, read_votes
    from galaxysd.images.build import build_dataset
    from galaxysd.images.dataset import Dataset
    from galaxysd.images.framing import Framing
    from galaxysd.images.sources import ImageSource

    framing = Framing.parse({"crop": crop, "size": size}, "framing")
    catalog = read_votes(
        votes,
        tree=DecisionTree.load(tree),
        survey=survey,
        schema=schema,
        fractions=fractions,
        mapping=mapping,
        classes=classes,
    )
    catalog = _select(catalog, withhold or [], well_sampled or [], well_sampled_votes, balance, add_rare or [], seed)
    with ImageSource(images) as source:
        report = build_dataset(
            catalog,
            source,
            out=out,
            framing=framing,
            survey=survey,
            pixel_scale=pixel_scale,
            seed=seed,
            like=[Dataset.open(folder) for folder in like or []],
            max_rejected=max_rejected,
            limit=limit,
            source_files=[votes],
        )
    info = report.info
    result = {
        "out": str(out),
        "galaxies": info.galaxies,
        "splits": info.splits,
        "rejected_rows": info.rejected_rows,
        "images_without_row": info.images_without_row,
        "built": report.built,
    }
    splits = ", ".join(f"{name} {count:,}" for name, count in info.splits.items())
    lines = [
        f"{info.galaxies:,} galaxies in {out} ({splits})" + ("" if report.built else ", already done"),
        f"rejected  {info.rejected_rows:,} rows, {info.images_without_row:,} images without a row (rejected.parquet)",
    ]
    _print(result, as_json, "\n".join(lines))


def _select(
    catalog: "Catalog",
    conditions: list[str],
    questions: list[str],
    votes: int,
    balance_file: Path | None,
    rare: list[str],
    seed: int,
) -> "Catalog":
    """The selections of `catalog build`, in the order in which they are documented there."""
    from galaxysd.catalog import selection

    pool, _ = selection.withhold(catalog, conditions)
    chosen = pool
    for question in questions:
        chosen = chosen.filter(selection.well_sampled(chosen, question, votes))
    if balance_file is not None:
        chosen = selection.balance(chosen, _shares(balance_file), seed).catalog
    for answer in rare:
        chosen = selection.add_rare(chosen, pool, answer)
    return chosen


def _shares(path: Path) -> dict[str, float]:
    """Share of each class from a YAML file."""
    from pydantic import TypeAdapter, ValidationError
    from yaml import YAMLError, safe_load

    try:
        return TypeAdapter(dict[str, float]).validate_python(safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, YAMLError, ValidationError):
        raise InputError(f"{path}: expected a YAML file of class: share, e.g. 'spiral: 0.5'") from None
