"""The verb of the search: discover."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from galaxysd.cli.shared import AsJson, Encoder, Model, Out, Seed, app, show


@app.command
def discover(
    *,
    survey: Annotated[
        list[Path],
        Parameter(consume_multiple=False, negative=(), help="Dataset, folder or tar; Parquet files are repeatable."),
    ],
    target: Annotated[str, Parameter(help="Prompt, e.g. 'early-type galaxy, {dust lane:1.3}'.")],
    out: Out,
    model: Model = "mini",
    encoder: Encoder = "galaxyemb",
    positives: Annotated[Path | None, Parameter(help="Table of known galaxies of the target in the survey.")] = None,
    exclude: Annotated[Path | None, Parameter(help="Table of galaxies to leave out.")] = None,
    answers: Annotated[Path | None, Parameter(help="Answers about earlier candidates (galaxysd vet export).")] = None,
    round_: Annotated[int, Parameter(name="--round", help="1, or the next after a vetted one.")] = 1,
    training: Annotated[
        list[Path] | None,
        Parameter(consume_multiple=False, negative=(), help="Dataset the generator learned from; repeatable."),
    ] = None,
    engine: Annotated[Literal["process", "ray"], Parameter(help="One process, or Ray Data.")] = "process",
    workers: Annotated[int | None, Parameter(help="Processes of Ray.")] = None,
    settings: Annotated[
        list[str] | None,
        Parameter(name="--set", consume_multiple=False, negative=(), help="key=value of the search; repeatable."),
    ] = None,
    limit: Annotated[int | None, Parameter(help="The first galaxies only: whole blocks with at least so many.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Search a survey for galaxies that a prompt describes: ranked candidates with reasons. Resumes."""
    from galaxysd.encoders.registry import load_encoder
    from galaxysd.search.discover import DiscoverSettings
    from galaxysd.search.discover import discover as search_survey

    report = search_survey(
        survey[0] if len(survey) == 1 else survey,
        target,
        out,
        encoder=load_encoder(encoder),
        model=model,
        positives=positives,
        exclude=exclude,
        answers=answers,
        round=round_,
        training=training or [],
        engine=engine,
        workers=workers,
        limit=limit,
        seed=seed,
        settings=DiscoverSettings().overridden(settings or []),
    )
    lines = [f"warning: {line}" for line in report.warnings]
    lines += [f"{report.images:,} galaxies scored, {report.broken:,} broken", f"candidates  {report.candidates}"]
    show(report.model_dump(mode="json"), as_json, "\n".join([*lines, f"page        {report.page}"]))
