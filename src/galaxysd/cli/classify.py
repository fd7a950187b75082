"""Verbs of classification: classify, augment."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from galaxysd.cli.shared import AsJson, Device, Encoder, Limit, Model, Out, app, counted, show


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
    from galaxysd.classification.predict import predict_table
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
def augment(
    *,
    data: Annotated[
        list[Path],
        Parameter(consume_multiple=False, negative=(), help="Dataset folder the generator learned from; repeatable."),
    ],
    out: Out,
    model: Model = "mini",
    rules: Annotated[str, Parameter(help="Classes and their prompts: gz2, efigi_bar, or a YAML file.")] = "gz2",
    labels: Annotated[Path | None, Parameter(help="Table of your own labels: columns file, class.")] = None,
    images: Annotated[Path | None, Parameter(help="Folder or tar with their images.")] = None,
    prompts: Annotated[
        Path | None, Parameter(help="Table class, prompt: what to dream, instead of the rules'.")
    ] = None,
    encoder: Encoder = "galaxyemb",
    pretrained: Annotated[str | None, Parameter(help="Another encoder for one more probe.")] = None,
    shots: Annotated[str | None, Parameter(help="Real galaxies per class, e.g. 10,50,all.")] = None,
    seeds: Annotated[int | None, Parameter(help="Repetitions with other galaxies, weights and batches.")] = None,
    settings: Annotated[
        list[str] | None,
        Parameter(name="--set", consume_multiple=False, negative=(), help="key=value of the experiment; repeatable."),
    ] = None,
    workers: Annotated[int, Parameter(help="Processes, one thread each.")] = 1,
    plan: Annotated[
        bool, Parameter(negative=(), help="Print what would be done and how long it takes, and stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Do dreamed galaxies make a better classifier? Train with and without them, and report. Resumes."""
    from galaxysd.classification.augment import augment as experiment
    from galaxysd.classification.augment_report import summary, write_report
    from galaxysd.classification.plan import AugmentSettings
    from galaxysd.classification.rules import ClassRules
    from galaxysd.embedding.encoders import load_encoder

    asked = [*(settings or []), *([] if seeds is None else [f"seeds={seeds}"])]
    asked += [] if shots is None else [f"shots=[{shots}]"]
    planned = experiment(
        data,
        out,
        model=model,
        rules=ClassRules.load(rules),
        settings=AugmentSettings().overridden(asked),
        encoder=load_encoder(encoder, orientations=8),
        pretrained=None if pretrained is None else load_encoder(pretrained, orientations=8),
        labels=labels,
        images=images,
        prompts=prompts,
        workers=workers,
        plan_only=plan,
    )
    if plan:
        show({"runs": len(planned.cells), "seconds": planned.seconds}, as_json, "")
        return
    report = write_report(out)
    show(
        report.model_dump(mode="json"),
        as_json,
        f"{summary(report)}\nthe report is at {(out / 'report.html').resolve()}",
    )
