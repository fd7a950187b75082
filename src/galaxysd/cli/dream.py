"""Verbs of the generator: demo, prompt, generate, train."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from galaxysd.cli.shared import AsJson, Device, Limit, Model, Out, Seed, app, counted, show
from galaxysd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from galaxysd.diffusion.autoencoder_task import FeatureMaps
    from galaxysd.diffusion.pipeline import GalaxyPipeline
    from galaxysd.generation.table import PromptTable
    from galaxysd.settings import Settings

REMARKED = 24  # prompts of a `generate` that are remarked on


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
    show(values, as_json, "\n".join([*lines, f"the page is at {result.page.resolve()}"]))


@app.command
def prompt(text: str, /, *, model: Model = "mini", as_json: AsJson = False) -> None:
    """Show how a prompt is understood: answers, weights, contradictions, and how much of it the model has seen."""
    from galaxysd.diffusion.pipeline import GalaxyPipeline
    from galaxysd.prompts import explain, render

    pipeline = GalaxyPipeline.from_pretrained(model)
    record = pipeline.record
    frames = record.evidence_by_survey or None
    explanation = explain(text, pipeline.vocabulary, record.evidence or None, frames)
    if as_json:
        show(explanation.model_dump(mode="json"), True, "")
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
    from galaxysd.generation.table import PromptTable

    requests = (PromptTable.read(table, n) if table is not None else PromptTable.of(prompts, n)).limited(limit)
    pipeline = GalaxyPipeline.from_pretrained(model, device=device)
    report = dream(
        pipeline,
        requests,
        out=out,
        model=model,
        formats=formats or ["png"],
        seed=seed,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
    )
    _print_remarks(pipeline, requests)
    made = f"{counted(report.galaxies, 'galaxy', 'galaxies')} of {counted(report.prompts, 'prompt', 'prompts')}"
    what = f"{made} in {report.seconds:g} s" if not report.already_done else f"already done: {made}"
    show(report.model_dump(mode="json"), as_json, f"{what}\nmanifest  {report.manifest}\nsheet     {report.sheet}")


def _print_remarks(pipeline: "GalaxyPipeline", requests: "PromptTable") -> None:
    """Say on stderr what `galaxysd prompt` would remark, once for each of the first prompts."""
    from galaxysd.prompts import notes

    prompts = requests.frame["prompt"].unique(maintain_order=True)
    for prompt in prompts.head(REMARKED):
        record = pipeline.record
        remarks = notes(
            pipeline.understand(prompt), pipeline.vocabulary, record.evidence or None, record.evidence_by_survey or None
        )
        if remarks:
            print(prompt or "(any galaxy)", *(f"  {remark}" for remark in remarks), sep="\n", file=sys.stderr)
    if len(prompts) > REMARKED:
        more = counted(len(prompts) - REMARKED, "more prompt", "more prompts")
        print(f'{more}: see `galaxysd prompt "..."`', file=sys.stderr)


@app.command
def train(
    *,
    data: Annotated[list[Path], Parameter(consume_multiple=False, negative=(), help="Dataset folder; repeatable.")],
    out: Annotated[Path | None, Parameter(help="Run folder to write to.")] = None,
    pack: Annotated[
        Path | None,
        Parameter(help="Do not train here, but write a training pack to this file, for another machine."),
    ] = None,
    recipe: Annotated[
        str,
        Parameter(
            help="mini (the latent flow of a generator), mini-autoencoder, mini-grain, encoder, classifier, or a YAML "
            "file called encoder*, classifier* or else."
        ),
    ] = "mini",
    images: Annotated[int | None, Parameter(help="Images to be seen in the end; default from the recipe.")] = None,
    minutes: Annotated[
        float | None, Parameter(help="End after so many minutes; the schedule is laid out for it.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        Parameter(name="--set", consume_multiple=False, negative=(), help="key=value of the recipe; repeatable."),
    ] = None,
    seed: Annotated[int | None, Parameter(help="Seed of everything random; default from the recipe.")] = None,
    start: Annotated[
        str | None,
        Parameter(
            name="--from", help="Model to go on from (fine-tuning); for a grain recipe, the generator it is for."
        ),
    ] = None,
    autoencoder: Annotated[
        str | None, Parameter(help="Model whose autoencoder a generator is trained on; default mini.")
    ] = None,
    features: Annotated[
        str | None,
        Parameter(help="Pretrained vision model (name or folder) by which an autoencoder sees what it draws."),
    ] = None,
    limit: Limit = None,
    dry_run: Annotated[bool, Parameter(negative=(), show_default=False, help="Print the recipe and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on datasets, or go on with a training."""
    if pack is not None:
        given = {"out": out, "images": images, "minutes": minutes, "from": start, "autoencoder": autoencoder}
        if unused := [f"--{name}" for name, value in {**given, "features": features}.items() if value is not None]:
            raise InputError(f"train: --pack writes a file and trains nothing; leave out {', '.join(unused)}")
        _write_pack(data, pack, recipe, seed, settings or [], limit, dry_run, as_json)
        return
    overrides = [*([] if seed is None else [f"fit.seed={seed}"]), *(settings or [])]
    chosen, learn = _prepared(recipe, overrides, start, autoencoder, None if dry_run else features)
    if dry_run:
        values = chosen.model_dump(mode="json")
        show(values, as_json, json.dumps(values, indent=2))
        return
    if out is None:
        raise InputError("train: give --out (a run folder), or --pack (a file, to train from on another machine)")
    result = learn(data, out, images=images, minutes=minutes, limit=limit)
    state = "done" if result["done"] else "stopped; the same command goes on"
    text = f"{state}: {result['images_seen']:,} images seen in {result['seconds']:,.0f} s\nmodel  {result['model']}"
    show(result, as_json, text)


def _prepared(
    recipe: str, overrides: list[str], start: str | None, autoencoder: str | None, features: str | None
) -> "tuple[Settings, Callable[..., dict[str, Any]]]":
    """The recipe, and what trains by it."""
    special = {"--from": start, "--autoencoder": autoencoder, "--features": features}

    def allow(*options: str) -> None:
        if unused := [name for name, value in special.items() if value is not None and name not in options]:
            raise InputError(f"train: {', '.join(unused)} means nothing to recipe {recipe!r}")

    kind = next((kind for kind in ("encoder", "classifier") if Path(recipe).stem.startswith(kind)), None)
    if kind == "encoder":
        from galaxysd.encoders.train import EncoderRecipe, train_encoder

        allow()
        encoder = EncoderRecipe.load(recipe, overrides)
        return encoder, partial(train_encoder, recipe=encoder)
    if kind == "classifier":
        from galaxysd.classifiers.recipe import ClassifierRecipe, train_recipe

        allow()
        classifier = ClassifierRecipe.load(recipe, overrides)
        return classifier, partial(train_recipe, recipe=classifier)
    from galaxysd.diffusion import recipe as stages

    chosen = stages.load_recipe(recipe, overrides)
    if isinstance(chosen, stages.AutoencoderRecipe):
        allow("--features")
        maps = None if features is None else _feature_maps(features, chosen.network.size)
        return chosen, partial(stages.train_autoencoder, recipe=chosen, features=maps)
    if isinstance(chosen, stages.GrainRecipe):
        allow("--from")
        return chosen, partial(stages.train_grain, recipe=chosen, start=start or "mini")
    allow("--from", "--autoencoder")
    if start is not None and autoencoder is not None:
        raise InputError("train: --from brings its own autoencoder; leave out --autoencoder")
    return chosen, partial(stages.train, recipe=chosen, start=start, autoencoder=autoencoder or "mini")


def _write_pack(
    data: list[Path],
    path: Path,
    recipe: str,
    seed: int | None,
    settings: list[str],
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    from galaxysd.diffusion.pack import STAGES, Recipes, write_pack

    seeds = [] if seed is None else [f"{stage}.fit.seed={seed}" for stage in STAGES]
    recipes = Recipes.load(recipe, [*seeds, *settings])
    if dry_run:
        values = recipes.model_dump(mode="json")
        show(values, as_json, json.dumps(values, indent=2))
        return
    result = write_pack(data, path, recipes=recipes, limit=limit)
    made = f"{counted(result['galaxies'], 'galaxy', 'galaxies')} in {result['bytes'] / 1e6:.1f} MB"
    command = f"python -m galaxysd.diffusion.train {result['pack']} --out DIR --minutes M"
    show(result, as_json, f"{made}\npack   {result['pack']}\ntrain  {command}")


def _feature_maps(model: str, side: int) -> "FeatureMaps":
    from galaxysd.encoders.pretrained import PretrainedMaps
    from galaxysd.training.fit import join

    return PretrainedMaps(model.removeprefix("transformers:"), side, join().device)
