"""The verb of the augmentation experiment: augment."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from galaxysd.cli.shared import AsJson, Encoder, Model, Out, app, show


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
    """Do synthetic galaxies make a better classifier? Train with and without them, and report. Resumes."""
    from galaxysd.augmentation.experiment import augment as experiment
    from galaxysd.augmentation.plan import AugmentSettings
    from galaxysd.augmentation.report import summary, write_report
    from galaxysd.classifiers.class_rules import ClassRules
    from galaxysd.encoders.registry import load_encoder

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
        show({"runs": len(planned.runs), "seconds": planned.seconds}, as_json, "")
        return
    report = write_report(out)
    show(
        report.model_dump(mode="json"),
        as_json,
        f"{summary(report)}\nthe report is at {(out / 'report.html').resolve()}",
    )
