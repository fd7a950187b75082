"""Find rare galaxies of a described kind in a survey: generate them, learn them, score everything, rank with reasons.

    discover(survey, target, out, encoder=...)

    OUT/generated galaxies/KIND.npy        generated galaxies of the target and its hard negatives (target.py), shared
    by all rounds OUT/round-1/               a run folder: settings.yaml, done.json
        scores/                a part per chunk of the survey (score.py)
        candidates.parquet     the best galaxies with their reasons (candidates.py), candidates/*.png
        broken.parquet         id and reason of images that cannot be read, if there are any
        candidates.html        the page (report.py)
    OUT/round-2/               the same after the answers about round 1 went back into training (known.py)

The ranker (ranker.py) learns from generated galaxies of the target against generated hard negatives and against
galaxies of the survey, which count as "other": the target is rare, so few of them are mislabelled. Each member of its
ensemble is given other galaxies of the survey, and none judges a galaxy that it was told to be "other" (bagging of
unlabelled examples: Mordelet and Vert 2014, Pattern Recognition Letters 37, 201). Known and vetted galaxies join their
class. The same command goes on where it was cut off.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from galaxysd.catalog.catalog import Catalog
from galaxysd.data.dataset import Dataset
from galaxysd.data.framing import Framing
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.diffusion.data import DataSettings
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.errors import InputError
from galaxysd.io import replacing
from galaxysd.runs import Run
from galaxysd.search.candidates import explain_candidates, top
from galaxysd.search.domain_leak import DomainLeakTest, domain_leak_test
from galaxysd.search.known import known_ids
from galaxysd.search.ranker import RankerSettings, TargetRanker, train_ranker
from galaxysd.search.report import write_page
from galaxysd.search.rounds import Answers, read_answers
from galaxysd.search.score import Engine, broken_images, score_survey
from galaxysd.search.survey import Survey
from galaxysd.search.target import SearchTarget, Seen, combination_seen, make_target, warnings_of
from galaxysd.search.training_set import BACKGROUND, UNLABELLED, Group, gallery, generated_groups, split
from galaxysd.settings import FrozenModel, Settings
from galaxysd.types import Pixels


class DiscoverSettings(Settings):
    """How to search."""

    generated: int = Field(default=600, ge=20, description="generated galaxies of the target")
    hard_negatives: int = Field(default=300, ge=50, description="generated galaxies of each kind of hard negative")
    background: int = Field(
        default=600,
        ge=50,
        description="generated galaxies of the survey's own mix, which show the generated galaxies' style",
    )
    unlabelled: int = Field(default=3000, ge=50, description="galaxies of the survey that count as not the target")
    held_out: float = Field(
        default=0.2, ge=0.2, le=0.5, description="share of all examples kept for calibration and probe"
    )
    members: int = Field(
        default=3, ge=3, description="of the ensemble; two are left to ranker what the third learned from"
    )
    ranker: RankerSettings = RankerSettings()
    candidates: int = Field(default=200, ge=1, description="galaxies in the list")
    mapped: int = Field(default=40, ge=0, description="candidates with an occlusion map, on the page")


class DiscoverIdentity(FrozenModel):
    """What makes two searches the same."""

    settings: DiscoverSettings
    seed: int
    round: int
    target: str = Field(description="the target in words")
    model: str = Field(description="hash of the generator")
    encoder: str = Field(description="hash of the encoder")
    survey: str = Field(description="hash of the survey")
    positives: tuple[str, ...] = Field(description="known galaxies of the target")
    exclude: tuple[str, ...] = Field(description="galaxies that are not to be candidates")
    answers: tuple[str, ...] = Field(description="vetted galaxies, id:answer")


class DiscoverReport(FrozenModel):
    """What a search did."""

    out: str = Field(description="folder of the round")
    candidates: str
    page: str
    target: str
    round: int
    search_target: SearchTarget
    seen: Seen | None = Field(description="the combination in labelled training galaxies; null: none were given")
    warnings: tuple[str, ...]
    examples: dict[str, int] = Field(
        description="galaxies of each kind that the ranker learned from or was held against"
    )
    domain_leak: DomainLeakTest
    images: int = Field(description="galaxies of the survey")
    broken: int = Field(description="images that cannot be read, listed in broken.parquet")
    seconds_scoring: float
    model_hash: str
    survey: str
    seed: int
    already_done: bool = False


def discover(
    survey: str | Path | Sequence[str | Path],
    target: str,
    out: str | Path,
    *,
    encoder: Encoder,
    model: str | Path = "mini",
    positives: str | Path | None = None,
    exclude: str | Path | None = None,
    answers: str | Path | None = None,
    round: int = 1,
    training: Sequence[str | Path] = (),
    engine: Engine = "process",
    workers: int | None = None,
    framing: Framing | None = None,
    limit: int | None = None,
    seed: int = 0,
    settings: DiscoverSettings | None = None,
) -> DiscoverReport:
    """Search a survey for galaxies that a prompt describes.

    Args:
        survey: dataset folder, folder or tar of images, or Parquet files of images.
        target: prompt, e.g. "early-type galaxy, {dust lane:1.3}".
        out: folder of the search.
        encoder: in whose features galaxies are judged, and examples are near.
        model: the generator.
        positives: table of known galaxies of the target in the survey (known.py); they are learned from, not listed.
        exclude: table of galaxies that are neither learned from nor listed.
        answers: table of votes about earlier candidates (known.py); needed from round 2 on.
        round: 1, or the next after a finished one.
        training: labelled datasets the generator learned from, to tell whether it saw the target; a survey that is a
            dataset counts as well.
        engine: `process` or `ray`.
        workers: processes of Ray.
        framing: of a survey that is not a dataset.
        limit: search about so many galaxies only.
        seed: of generated galaxies and draws.
        settings: how.

    Raises:
        InputError: the target is not understood, no positive is in the survey, the survey cannot be read, or the folder
            holds another search.
    """
    settings = settings or DiscoverSettings()
    pipeline = GalaxyPipeline.from_pretrained(model)
    size = pipeline.size
    listed = Survey.open(survey, framing=framing, limit=limit)
    if listed.framing.size != size:
        raise InputError(
            f"survey {listed.name}: images of {listed.framing.size} px; generator {model} makes {size} px, "
            f"choose a framing or dataset of that size"
        )
    search_target = make_target(pipeline, target, survey=listed.token)
    known = [] if positives is None else known_ids(positives, listed)
    hidden = [] if exclude is None else known_ids(exclude, listed)
    vetted = _answers(answers, round, Path(out), listed)
    identity = DiscoverIdentity(
        settings=settings,
        seed=seed,
        round=round,
        target=search_target.target.caption,
        model=pipeline.model_hash,
        encoder=encoder.hash,
        survey=listed.hash,
        positives=tuple(known),
        exclude=tuple(hidden),
        answers=tuple(f"{name}:{word}" for word in ("yes", "no", "unsure") for name in getattr(vetted, word)),
    )
    run = Run.open(Path(out) / f"round-{round}", identity)
    if run.summary is not None:
        return DiscoverReport.parse({**run.summary, "already_done": True}, f"{run.folder}/done.json")
    folder = run.folder
    catalogs = [Dataset.open(one).catalog for one in training]
    seen = _seen(search_target, pipeline, [*catalogs, *([] if listed.catalog is None else [listed.catalog])])
    phrases = {column: pipeline.vocabulary.phrase(column) for column in pipeline.record.tree.columns}

    groups = generated_groups(
        pipeline,
        search_target,
        target=settings.generated,
        hard_negatives=settings.hard_negatives,
        background=settings.background,
        seed=seed,
        folder=Path(out) / "generated",
    )
    groups += _real(listed, settings, seed, known, hidden, vetted)
    learned, held = split(groups, settings.held_out, seed)
    ranker = train_ranker(encoder, learned, held, settings.ranker, members=settings.members)
    found = {
        group.kind: ranker(group.galaxies.images, generated=group.synthetic)[0]
        for group in held
        if group.kind in (BACKGROUND, UNLABELLED)
    }
    gap = domain_leak_test(found[UNLABELLED], found[BACKGROUND], seed=seed)

    scored = score_survey(listed, ranker, folder / "scores", engine=engine, workers=workers)
    if scored.broken:
        with replacing(folder / "broken.parquet") as path:
            broken_images(folder / "scores").write_parquet(path)
    fair = _out_of_bag(next(group for group in learned if group.kind == UNLABELLED), ranker, listed)
    ranked = top(folder / "scores", settings.candidates, better=fair, exclude={*known, *hidden, *vetted.all})
    real_targets = [group for group in groups if group.label == 1 and not group.synthetic]
    candidates = explain_candidates(
        ranked,
        listed,
        lambda images: ranker(images)[0],
        encoder,
        generated=gallery([groups[0]]),
        known=gallery(real_targets),
        out=folder,
        mapped=settings.mapped,
    )
    with replacing(folder / "candidates.parquet") as path:
        candidates.write_parquet(path, metadata={"galaxysd": identity.model_dump_json()})
    report = DiscoverReport(
        out=str(folder),
        candidates=str(folder / "candidates.parquet"),
        page=str(folder / "candidates.html"),
        target=target,
        round=round,
        search_target=search_target,
        seen=seen,
        warnings=tuple(_warnings(search_target, seen, phrases, gap)),
        examples={group.kind: len(group) for group in groups},
        domain_leak=gap,
        images=scored.images,
        broken=scored.broken,
        seconds_scoring=scored.seconds,
        model_hash=pipeline.model_hash,
        survey=listed.name,
        seed=seed,
    )
    write_page(
        folder / "candidates.html",
        report.model_dump(mode="json"),
        candidates,
        generated=gallery([groups[0]]),
        known=gallery(real_targets),
    )
    run.finish(json.loads(report.model_dump_json()))
    return report


def _real(
    survey: Survey, settings: DiscoverSettings, seed: int, known: list[str], hidden: list[str], vetted: Answers
) -> list[Group]:
    """Galaxies of the survey: unlabelled ones, known ones, vetted ones."""
    apart = frozenset((*known, *hidden, *vetted.all))
    names, images = survey.sample(settings.unlabelled, seed=seed, without=apart)
    groups = [_group_of(survey, UNLABELLED, 0, names, images)]
    denied = set(vetted.no)
    told = {
        "known": (1, [name for name in known if name not in denied]),
        "vetted": (1, list(vetted.yes)),
        "refused": (0, list(vetted.no)),
    }
    taken: set[str] = set()
    for kind, (label, wanted) in told.items():
        wanted = [name for name in dict.fromkeys(wanted) if name not in taken]
        taken |= set(wanted)
        found = survey.pixels(wanted) if wanted else {}
        readable = [name for name in wanted if name in found]
        if readable:
            groups.append(_group_of(survey, kind, label, readable, np.stack([found[name] for name in readable])))
    return groups


def _group_of(survey: Survey, kind: str, label: int, names: Sequence[str], images: Pixels) -> Group:
    galaxies = GalaxySet(images, [f"{survey.token or 'survey'}:{name}" for name in names])
    return Group(kind, label, galaxies, synthetic=False)


def _out_of_bag(unlabelled: Group, ranker: TargetRanker, survey: Survey) -> pl.DataFrame:
    """Scores of unlabelled training galaxies by the members that did not learn from them."""
    prefix = f"{survey.token or 'survey'}:"
    rows: list[tuple[str, float, float]] = []
    for member in range(len(ranker.members)):
        mine = unlabelled.subset(unlabelled.indices(member, len(ranker.members))).galaxies
        if len(mine):
            scores, spreads = ranker.without(member)(mine.images)
            names = [name.removeprefix(prefix) for name in mine.ids]
            rows += zip(names, scores.tolist(), spreads.tolist(), strict=True)
    return pl.DataFrame(rows, schema={"id": pl.String, "score": pl.Float64, "spread": pl.Float64}, orient="row")


def _answers(table: str | Path | None, number: int, out: Path, survey: Survey) -> Answers:
    """The answers of a round, after what must have gone before has been checked."""
    if number < 1:
        raise InputError(f"round {number}: rounds count from 1")
    if number == 1:
        if table is not None:
            raise InputError("answers: they belong to round 2 and later; name known galaxies as positives")
        return Answers()
    if not (out / f"round-{number - 1}" / "done.json").is_file():
        raise InputError(f"{out}: round {number - 1} is not finished; run it first")
    if table is None:
        raise InputError(f"round {number}: needs the answers about earlier candidates, a table of id and answer")
    return read_answers(table, survey)


def _seen(search_target: SearchTarget, pipeline: GalaxyPipeline, catalogs: list[Catalog]) -> Seen | None:
    if not catalogs:
        return None
    recipe: dict[str, Any] = pipeline.record.training.get("recipe", {})
    learned = DataSettings.parse(recipe.get("data", {}), "the generator's training data")
    return combination_seen(search_target.target.morphology, catalogs, learned)


def _warnings(
    search_target: SearchTarget, seen: Seen | None, phrases: dict[str, str], gap: DomainLeakTest
) -> list[str]:
    found = warnings_of(search_target, seen, phrases)
    if not gap.passed:
        found.append(
            f"the scores tell dreamed from real galaxies (area {gap.area.value:.2f}, 0.5 is chance): the ranker "
            "may have learned the style of the dreams; trust the ranking less than the pictures"
        )
    return found
