"""A vetted catalogue that other astronomers can use.

    CATALOGUE/catalogue.fits, .vot, .parquet   the same rows (tables.py)
    CATALOGUE/charts.html                      finding charts
    CATALOGUE/images/RANK.png                  pictures of the galaxies
    CATALOGUE/catalogue.json                   what was done: counts, estimates, hashes (`PublishReport`)
    CATALOGUE/README.md                        the same for people: columns, numbers, how to cite

In: a search in a `VettingStore`, lists of known galaxies. The folder appears when it is complete.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from pydantic import Field

import galaxysd
from galaxysd.data.decode import BadImage, decode, encode_png
from galaxysd.data.framing import Framing
from galaxysd.errors import InputError
from galaxysd.io import replacing, sha256_of
from galaxysd.reports.html import Part, Table
from galaxysd.settings import FrozenModel, Settings
from galaxysd.stats import Estimate
from galaxysd.types import Pixels
from galaxysd.vetting.agreement import Verdict, VerdictRule, agreement
from galaxysd.vetting.candidates import Line, Search
from galaxysd.vetting.charts import write_charts
from galaxysd.vetting.completeness import Cut, SampleEstimate, estimate
from galaxysd.vetting.crossmatch import crossmatch
from galaxysd.vetting.store import VettingStore
from galaxysd.vetting.tables import COLUMNS, write_fits, write_parquet, write_votable

SIDE = 64  # px, of the pictures
TABLES = ("catalogue.fits", "catalogue.vot", "catalogue.parquet")


class PublishSettings(Settings):
    """What goes into a catalogue."""

    title: Line = Field(default="A catalogue of rare galaxies", min_length=1)
    authors: Line = Field(default="", description="as they should be cited; empty: to be filled in")
    verdicts: tuple[Verdict, ...] = Field(default=("yes",), min_length=1, description="of the galaxies to publish")
    rule: VerdictRule = VerdictRule()
    radius: float = Field(default=3.0, gt=0, le=60, description="within which a galaxy is a known one, arcsec")
    seed: int = Field(default=0, ge=0, description="of the draws behind the intervals")


class PublishReport(FrozenModel):
    """Content of `catalogue.json`."""

    title: str
    date: str = Field(description="day of publication, UTC")
    version: str = Field(description="of GalaxySD")
    search: Search
    settings: PublishSettings
    galaxies: int = Field(description="rows of the catalogue")
    candidates: int = Field(description="candidates of the search")
    verdicts: dict[str, int] = Field(description="candidates by verdict")
    voters: int = Field(description="people who answered")
    known: dict[str, int] = Field(description="published galaxies that are known, new or unplaced; empty: not compared")
    lists: dict[str, str] = Field(description="lists of known galaxies, SHA-256 of each")
    without_picture: int = Field(description="published galaxies whose picture is missing or cannot be read")
    estimate: SampleEstimate
    votes_hash: str = Field(description="SHA-256 of the history of votes")
    files: dict[str, str] = Field(description="SHA-256 of the tables")


def publish(
    store: VettingStore,
    search: str,
    out: str | Path,
    *,
    known: Sequence[str | Path] = (),
    settings: PublishSettings | None = None,
) -> PublishReport:
    """Write the catalogue of a search.

    Args:
        store: with its candidates and votes.
        search: its name.
        out: folder to make; must not exist.
        known: lists of known galaxies (`crossmatch.read_known`).
        settings: what goes in.

    Raises:
        InputError: the folder exists, no galaxy has such a verdict, a list cannot be read, or the disk is full.
    """
    out, settings = Path(out), settings or PublishSettings()
    if out.exists():
        raise InputError(f"{out}: exists; a catalogue is never overwritten, choose another folder")
    names = [Path(path).name for path in known]
    if len(set(names)) < len(names):
        raise InputError(f"{out}: two lists of known galaxies have the same file name ({', '.join(names)}); rename one")
    about = store.search(search)
    judged = agreement(store, search, settings.rule)
    history = store.votes(search)
    chosen = judged.filter(pl.col("verdict").is_in(list(settings.verdicts)))
    if chosen.is_empty():
        wanted = " or ".join(settings.verdicts)
        raise InputError(f"{store}: no galaxy of {search!r} has the verdict {wanted}; vet candidates first")
    matches = crossmatch(chosen, known, settings.radius)
    with replacing(out, folder=True) as folder:
        links, pictures = _pictures(store, search, chosen, folder)
        frame = _rows(chosen, matches, links, about)
        lists = {name: sha256_of(Path(path)) for name, path in zip(names, known, strict=True)}
        day = time.strftime("%Y-%m-%d", time.gmtime())
        cards = {
            "TITLE": settings.title,
            "AUTHOR": settings.authors or "unknown",
            "TARGET": about.target,
            "SURVEY": about.survey,
            "SURVHASH": about.survey_hash,
            "MODHASH": about.model_hash,
            "CREATOR": f"GalaxySD {galaxysd.__version__}",
            "DATE": day,
        }
        for write, name in zip((write_fits, write_votable, write_parquet), TABLES, strict=True):
            write(folder / name, frame, cards)
        counts = frame["known"].drop_nulls().value_counts()
        report = PublishReport(
            title=settings.title,
            date=day,
            version=galaxysd.__version__,
            search=about,
            settings=settings,
            galaxies=frame.height,
            candidates=judged.height,
            verdicts=dict(judged["verdict"].value_counts().sort("verdict").iter_rows()),
            voters=history["voter"].n_unique(),
            known=dict(counts.sort("known").iter_rows()),
            lists=lists,
            without_picture=links.count(""),
            estimate=estimate(judged, seed=settings.seed),
            votes_hash=hashlib.sha256(history.write_csv().encode()).hexdigest(),
            files={name: sha256_of(folder / name) for name in TABLES},
        )
        (folder / "catalogue.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(readme(report), encoding="utf-8")
        shown = set(frame["id"])
        write_charts(
            folder / "charts.html",
            frame,
            pictures,
            [note for note in store.notes(search) if note.id in shown],
            title=settings.title,
            lead=f"{frame.height:,} galaxies of {about.survey}, searched for with: {about.target}",
            about=_measured(report),
            footer=f"ranker {about.model_hash}; survey {about.survey_hash}; {day}",
        )
    return report


def _pictures(
    store: VettingStore, search: str, chosen: pl.DataFrame, folder: Path
) -> tuple[list[str], dict[str, Pixels]]:
    """Write the pictures; returns a link per galaxy ("": none), and what can be shown. A broken one stops nothing."""
    (folder / "images").mkdir()
    framing = Framing(size=SIDE)
    links, pictures = [], {}
    for name, rank in chosen.select("id", "rank").iter_rows():
        candidate = store.candidate(search, name)
        link = candidate.image_link or ""
        if candidate.image is not None:
            try:
                pixels = decode(candidate.image, name)
                pictures[name] = framing.apply(pixels)
            except BadImage:
                pass
            else:
                file = f"images/{rank:06d}.png"
                (folder / file).write_bytes(encode_png(pixels))
                link = link or file
        links.append(link)
    return links, pictures


def _rows(chosen: pl.DataFrame, matches: pl.DataFrame, links: list[str], about: Search) -> pl.DataFrame:
    """The columns of the catalogue, in order."""
    frame = pl.concat([chosen, matches], how="horizontal").with_columns(
        pl.Series("image", links, dtype=pl.String),
        uncertainty="spread",
        votes_yes="yes",
        votes_no="no",
        votes_unsure="unsure",
        model_hash=pl.lit(about.model_hash),
    )
    return frame.select(one.name for one in COLUMNS)


def _interval(one: Estimate | None, *, digits: int = 2) -> str:
    return "-" if one is None else f"{one.value:.{digits}f} [{one.low:.{digits}f}, {one.high:.{digits}f}]"


def _cut(one: Cut) -> tuple[str, ...]:
    return f"{one.rank:,}", f"{one.score:.3f}", _interval(one.purity), _interval(one.completeness)


CUTS = ("down to rank", "smallest score", "purity", "completeness")


def _measured(report: PublishReport) -> list[Part]:
    """Counts and estimates, for the page."""
    parts: list[Part] = [_counts(report), _found(report)]
    return [*parts, Table(CUTS, [_cut(one) for one in report.estimate.cuts], "in brackets: 95 %")]


def _counts(report: PublishReport) -> str:
    verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in report.verdicts.items())
    people = "1 person" if report.voters == 1 else f"{report.voters} people"
    text = (
        f"{report.search.galaxies:,} galaxies were scored, {report.candidates:,} of them are candidates. "
        f"Verdicts of {people}: {verdicts}."
    )
    if report.lists:
        known = ", ".join(f"{count:,} {state}" for state, count in report.known.items())
        text += f" Within {report.settings.radius:g} arcsec of {', '.join(report.lists)}: {known}."
    return text


def _found(report: PublishReport) -> str:
    measured = report.estimate
    if measured.targets is None:
        return f"Not estimated: {measured.note}."
    text = f"Targets among all candidates: {_interval(measured.targets, digits=0)}. "
    if measured.vetted_completeness is None:
        return f"{text}Not estimated further: {measured.note}."
    return f"{text}Vetting has found this share of them: {_interval(measured.vetted_completeness)}."


def readme(report: PublishReport) -> str:
    """README.md of a catalogue."""
    search, cuts = report.search, report.estimate.cuts
    columns = "\n".join(f"| `{one.name}` | {one.unit or ''} | {one.ucd} | {one.description} |" for one in COLUMNS)
    numbers = "\n".join(f"| {' | '.join(_cut(one))} |" for one in cuts)
    files = "\n".join(f"- `{name}`: SHA-256 `{digest}`" for name, digest in report.files.items())
    lists = "\n".join(f"- `{_code(name)}`: SHA-256 `{digest}`" for name, digest in report.lists.items())
    authors = report.settings.authors or "AUTHORS"
    year = report.date[:4]
    return f"""# {report.title}

{report.galaxies:,} galaxies of the survey `{_code(search.survey)}`, searched for with the prompt
`{_code(search.target)}` and vetted by people. Look at `charts.html` first.

{_counts(report)}

## Files

`catalogue.fits`, `catalogue.vot` and `catalogue.parquet` hold the same rows; `images/` their pictures, by rank;
`catalogue.json` everything said here, for programs.

{files}

## Columns

| column | unit | UCD | what it is |
|---|---|---|---|
{columns}

FITS and VOTable write an unknown number as NaN, Parquet as null. Positions are ICRS.

## Purity and completeness

{_found(report)}

| {" | ".join(CUTS)} |
|---|---|---|---|
{numbers}

In brackets: 95 %. Estimated from the candidates that were vetted at random within ranges of rank (Cochran 1977, section
5.10, with beta-binomial intervals). Completeness is the share of the targets *among the candidates*; targets that the
search left out of its {report.candidates:,} candidates are not counted.

## Origin

- ranker: `{_code(search.model_hash)}`
- images of the survey: `{_code(search.survey_hash)}`
- votes: SHA-256 `{report.votes_hash}`
- software: GalaxySD {report.version}, {report.date}
{lists and f"- known galaxies, compared within {report.settings.radius:g} arcsec:"}
{lists}

## How to cite

> {authors}, {year}, "{report.title}", found with GalaxySD {report.version}; ranker {_code(search.model_hash)}.

Cite the survey and the lists of known galaxies as their authors ask.
"""


def _code(text: str) -> str:
    """Text for a code span of Markdown."""
    return text.replace("`", "'")


def read_report(folder: str | Path) -> PublishReport:
    """What `publish` wrote to `catalogue.json`.

    Raises:
        InputError: it is not there, or is something else.
    """
    path = Path(folder) / "catalogue.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    return PublishReport.parse(values, str(path))
