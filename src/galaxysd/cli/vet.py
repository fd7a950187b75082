"""Verbs of people's votes and of what comes of them: vet, publish."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from galaxysd.cli.shared import AsJson, Seed, app, show

vet_app = App(name="vet", help="Look at candidates, several people together.", help_format="plaintext")
app.command(vet_app)

Store = Annotated[str, Parameter(help="SQLite file, or the URL of a PostgreSQL database.")]
SearchName = Annotated[str, Parameter(help="Name of the search.")]


@app.command
def publish(
    *,
    store: Store,
    search: SearchName,
    out: Annotated[Path, Parameter(help="Folder of the catalogue; must not exist.")],
    known: Annotated[
        list[Path] | None,
        Parameter(consume_multiple=False, negative=(), help="List of known galaxies; repeatable."),
    ] = None,
    radius: Annotated[float, Parameter(help="Within which a galaxy is a known one, arcsec.")] = 3.0,
    verdicts: Annotated[
        list[Literal["yes", "unsure", "no", "unvetted"]] | None,
        Parameter(name="--verdict", consume_multiple=False, negative=(), help="To publish, default yes; repeatable."),
    ] = None,
    title: str = "A catalogue of rare galaxies",
    authors: str = "",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Write a vetted catalogue: FITS, VOTable, Parquet, finding charts, README."""
    from galaxysd.vetting.publish import PublishSettings
    from galaxysd.vetting.publish import publish as write_catalogue
    from galaxysd.vetting.store import VettingStore

    values = {"title": title, "authors": authors, "radius": radius, "verdicts": verdicts or ["yes"], "seed": seed}
    settings = PublishSettings.parse(values, "catalogue")
    with VettingStore.open(store) as opened:
        report = write_catalogue(opened, search, out, known=known or [], settings=settings)
    show(report.model_dump(mode="json"), as_json, f"{report.galaxies:,} of {report.candidates:,} candidates in {out}")


@vet_app.command
def add(
    *,
    store: Store,
    candidates: Annotated[Path, Parameter(help="candidates.parquet of a search.")],
    name: Annotated[str | None, Parameter(help="Name of the search; default from its folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put the candidates of a search into the store; adding them again changes nothing."""
    from galaxysd.vetting.candidates import read_candidates, read_search
    from galaxysd.vetting.store import VettingStore

    about = read_search(candidates, name=name)
    with VettingStore.open(store) as opened:
        added = opened.add_candidates(about, read_candidates(candidates))
    show(
        added.model_dump(mode="json"),
        as_json,
        f"search {about.name!r}: {added.added:,} candidates added, {added.known:,} were there already",
    )


@vet_app.command
def next(
    *,
    store: Store,
    search: SearchName,
    voter: Annotated[str, Parameter(help="Who is asked.")],
    order: Annotated[Literal["rank", "sample", "uncertain"], Parameter(help="Which galaxy comes first.")] = "rank",
    enough: Annotated[int | None, Parameter(help="Pass over galaxies with so many answers.")] = None,
    as_json: AsJson = False,
) -> None:
    """The next galaxy to look at."""
    from galaxysd.vetting.store import VettingStore

    with VettingStore.open(store) as opened:
        found = opened.next_to_vet(search, voter, order=order, enough=enough)
    values = None if found is None else found.model_dump(mode="json", exclude={"image"})
    text = "nothing is left to vet" if found is None else f"{found.id}  rank {found.rank}, score {found.score:.3f}"
    show({"candidate": values}, as_json, text)


@vet_app.command
def vote(
    candidate: str,
    answer: Literal["yes", "no", "unsure"],
    /,
    *,
    store: Store,
    search: SearchName,
    voter: Annotated[str, Parameter(help="Who answers.")],
    note: str = "",
    as_json: AsJson = False,
) -> None:
    """Answer whether a candidate is what was searched for."""
    from galaxysd.vetting.store import VettingStore

    with VettingStore.open(store) as opened:
        cast = opened.cast_vote(search, candidate, voter, answer, note)
    show(cast.model_dump(mode="json"), as_json, f"{cast.id}: {cast.answer}")


@vet_app.command
def note(
    candidate: str,
    text: str,
    /,
    *,
    store: Store,
    search: SearchName,
    author: Annotated[str, Parameter(help="Who remarks.")],
    as_json: AsJson = False,
) -> None:
    """Remark on a candidate."""
    from galaxysd.vetting.store import VettingStore

    with VettingStore.open(store) as opened:
        made = opened.add_note(search, candidate, author, text)
    show(made.model_dump(mode="json"), as_json, f"{made.id}: noted")


@vet_app.command
def status(*, store: Store, search: SearchName, as_json: AsJson = False) -> None:
    """How far the vetting is, and what it says so far."""
    from galaxysd.vetting.agreement import agreement
    from galaxysd.vetting.completeness import estimate
    from galaxysd.vetting.store import VettingStore

    with VettingStore.open(store) as opened:
        judged = agreement(opened, search)
    counts = {str(name): int(n) for name, n in judged["verdict"].value_counts().iter_rows()}
    found = estimate(judged)
    text = ", ".join(f"{n:,} {name}" for name, n in counts.items())
    show({"verdicts": counts, "estimate": found.model_dump(mode="json")}, as_json, f"{search}: {text}")


@vet_app.command
def export(
    *,
    store: Store,
    search: Annotated[list[str], Parameter(consume_multiple=False, negative=(), help="Name of a search; repeatable.")],
    out: Annotated[Path, Parameter(help="CSV file to write.")],
    as_json: AsJson = False,
) -> None:
    """Write the answers as a table, for `discover --round 2 --answers`."""
    from galaxysd.io import write_atomically
    from galaxysd.vetting.agreement import answers
    from galaxysd.vetting.store import VettingStore

    with VettingStore.open(store) as opened:
        table = answers(opened, search)
    write_atomically(out, table.write_csv())
    show({"file": str(out), "answers": len(table)}, as_json, f"{len(table):,} answers in {out}")
