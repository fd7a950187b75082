"""Verbs that look at images with a network: embed, classify, evaluate."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from galaxysd.cli.shared import AsJson, Device, Encoder, Limit, Out, Seed, app, counted, show
from galaxysd.errors import InputError


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
    from galaxysd.encoders.feature_table import embed as write_features
    from galaxysd.encoders.registry import load_encoder

    chosen = load_encoder(encoder, find_device(device), orientations=orientations)
    report = write_features(images, chosen, out, limit=limit)
    state = "already done" if report.already_done else f"{report.seconds:,.1f} s"
    made = f"{counted(report.galaxies, 'galaxy', 'galaxies')} x {report.dimension} features"
    text = f"{made} of {report.encoder} ({state})\n{report.file}"
    show(report.model_dump(mode="json"), as_json, text)


@app.command
def classify(
    *,
    images: Annotated[Path, Parameter(help="Dataset folder, or a folder or tar of images.")],
    classifier: Annotated[
        list[Path], Parameter(consume_multiple=False, negative=(), help="Classifier folder; several are an ensemble.")
    ],
    out: Annotated[Path, Parameter(help="Parquet file to write.")],
    orientations: Annotated[int, Parameter(help="Turns and flips to average over, 1 to 8.")] = 8,
    device: Device = "cpu",
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Class probabilities of images as a table, with their spread over the ensemble."""
    from galaxysd.classifiers.predict import predict_table
    from galaxysd.diffusion.pipeline import find_device

    report = predict_table(images, classifier, out, orientations=orientations, limit=limit, device=find_device(device))
    counts = "".join(f"\n{count:8,}  {name}" for name, count in report.counts.items())
    state = "already done" if report.already_done else f"{report.seconds:,.1f} s, {report.rejected:,} rejected"
    show(
        report.model_dump(mode="json"),
        as_json,
        f"{counted(report.galaxies, 'galaxy', 'galaxies')} ({state}){counts}\n{report.file}",
    )


@app.command
def evaluate(
    *,
    data: Annotated[
        list[Path] | None, Parameter(consume_multiple=False, negative=(), help="Dataset folder; repeatable.")
    ] = None,
    out: Annotated[Path, Parameter(help="Folder to write to; with --compare, the HTML file.")],
    model: Annotated[str | None, Parameter(help="A shipped model or a model folder; default mini.")] = None,
    images: Annotated[
        Path | None, Parameter(help="Images of any generator in place of a model: folder, tar, or table.")
    ] = None,
    encoder: Encoder = "galaxyemb",
    n: Annotated[int, Parameter(name=["-n", "--n"], help="Galaxies of each sample.")] = 1000,
    sweep: Annotated[
        bool, Parameter(negative=(), help="Also try other guidance and steps, and draw the front.")
    ] = False,
    two_models: Annotated[
        tuple[str, str] | None, Parameter(help="Two models trained on disjoint halves, for the memory test.")
    ] = None,
    compare: Annotated[tuple[Path, Path] | None, Parameter(help="Two finished reports, side by side.")] = None,
    steps: Annotated[int | None, Parameter(help="Sampling steps; default from the model.")] = None,
    guidance: Annotated[float | None, Parameter(help="Guidance scale, 1 for none; default from the model.")] = None,
    sampler: Annotated[str | None, Parameter(help="euler, heun or dpm++2m; default from the model.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Judge a generator against held-out real galaxies: report.json and report.html. The same command resumes."""
    if compare is not None:
        from galaxysd.evaluation.compare import comparison_summary, write_comparison

        found = write_comparison(compare, out)
        show(found.model_dump(mode="json"), as_json, f"{comparison_summary(found)}\nthe page is at {out.resolve()}")
        return
    if not data:
        raise InputError("evaluate: --data is missing; the galaxies are compared with those of datasets")
    from galaxysd.encoders.registry import load_encoder
    from galaxysd.evaluation.evaluate import EvaluationSettings
    from galaxysd.evaluation.evaluate import evaluate as judge
    from galaxysd.evaluation.report import summary, write_page
    from galaxysd.evaluation.sweep import SweepSettings
    from galaxysd.evaluation.sweep import sweep as try_settings
    from galaxysd.evaluation.two_models import TwoModelSettings, compare_two_models

    settings = EvaluationSettings.parse({"n": n, "seed": seed}, "evaluation")
    judging, own = load_encoder(encoder), None if images is not None else model or "mini"
    report = judge(
        data,
        out,
        model=model if images is not None else own,
        images=images,
        encoder=judging,
        settings=settings,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
    )
    swept, compared = None, None
    cache = out.parent / "evaluation-cache"  # where the report keeps what it measured of real galaxies
    if sweep:
        if own is None:
            raise InputError("evaluate: --sweep tries settings of a model, not of images")
        swept = try_settings(
            data, out / "sweep", model=own, encoder=judging, settings=settings, grid=SweepSettings(), cache=cache
        )
    if two_models is not None:
        compared = compare_two_models(data, out / "two_models", models=two_models, settings=TwoModelSettings(seed=seed))
    page = write_page(report, out, swept=swept, two_models=compared)
    text = f"{summary(report, compared)}\nthe report is at {page.resolve()}"
    show(report.model_dump(mode="json"), as_json, text)
