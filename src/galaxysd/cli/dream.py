"""Verbs of the generator: demo, prompt, generate, train."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from galaxysd.cli.shared import AsJson, Device, Limit, Model, Out, Seed, app, counted, show
from galaxysd.errors import InputError

if TYPE_CHECKING:
    from galaxysd.diffusion.perceptual import FeatureMaps, PerceptualSettings
    from galaxysd.diffusion.pipeline import GalaxyPipeline
    from galaxysd.generation.table import Requests
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
    from galaxysd.generation.table import Requests

    requests = (Requests.read(table, n) if table is not None else Requests.of(prompts, n)).limited(limit)
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


def _print_remarks(pipeline: "GalaxyPipeline", requests: "Requests") -> None:
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
    out: Out,
    recipe: Annotated[
        str,
        Parameter(help="mini (a generator), encoder, classifier, or a YAML file called encoder*, classifier* or else."),
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
    features: Annotated[
        str | None,
        Parameter(help="Pretrained vision model (name or folder) that a recipe with a perceptual term sees by."),
    ] = None,
    limit: Limit = None,
    dry_run: Annotated[bool, Parameter(negative=(), show_default=False, help="Print the recipe and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on datasets, or go on with a training."""
    overrides = [*([] if seed is None else [f"fit.seed={seed}"]), *(settings or [])]
    chosen: Settings
    kind = next((kind for kind in ("encoder", "classifier") if Path(recipe).stem.startswith(kind)), "generator")
    if kind != "generator" and any(option is not None for option in (start, guide, features)):
        raise InputError(f"train: --from, --guide and --features are for generators, not for recipe {recipe!r}")
    if kind == "encoder":
        from galaxysd.encoders.train import EncoderRecipe, train_encoder

        chosen = encoder = EncoderRecipe.load(recipe, overrides)
        learn = partial(train_encoder, recipe=encoder)
    elif kind == "classifier":
        from galaxysd.classifiers.recipe import ClassifierRecipe, train_recipe

        chosen = classifier = ClassifierRecipe.load(recipe, overrides)
        learn = partial(train_recipe, recipe=classifier)
    else:
        from galaxysd.diffusion.recipe import Recipe
        from galaxysd.diffusion.recipe import train as train_generator

        chosen = generator = Recipe.load(recipe, overrides)
        maps = None if features is None or dry_run else _feature_maps(features, generator.perceptual)
        learn = partial(train_generator, recipe=generator, start=start, guide=guide, features=maps)
    if dry_run:
        values = chosen.model_dump(mode="json")
        show(values, as_json, json.dumps(values, indent=2))
        return
    result = learn(data, out, images=images, minutes=minutes, limit=limit)
    state = "done" if result["done"] else "stopped; the same command goes on"
    text = f"{state}: {result['images_seen']:,} images seen in {result['seconds']:,.0f} s\nmodel  {result['model']}"
    show(result, as_json, text)


def _feature_maps(model: str, settings: "PerceptualSettings | None") -> "FeatureMaps":
    if settings is None:
        raise InputError("train: --features is for recipes with a perceptual term, such as mini-perceptual")
    from accelerate import Accelerator

    from galaxysd.encoders.maps import PretrainedMaps

    return PretrainedMaps(model.removeprefix("transformers:"), settings.side, Accelerator().device)
