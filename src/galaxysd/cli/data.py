"""Verbs that make datasets: toy, catalog build."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from galaxysd.cli.shared import AsJson, Limit, Out, Seed, app, counted, show
from galaxysd.errors import InputError

if TYPE_CHECKING:
    from galaxysd.catalog.catalog import Catalog

catalog_app = App(name="catalog", help="What people saw: votes and images.", help_format="plaintext")
app.command(catalog_app)


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
    from galaxysd.data.toy_survey import make_toy_survey

    folder = make_toy_survey(out, n, seed, size)
    build = f"galaxysd catalog build --votes {folder}/votes.csv --images {folder}/images --survey toy --out DATASET"
    show({"out": str(folder), "galaxies": n}, as_json, f"{counted(n, 'galaxy', 'galaxies')} in {folder}\nnext: {build}")


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
    from galaxysd.data.build import build_dataset
    from galaxysd.data.dataset import Dataset
    from galaxysd.data.framing import Framing
    from galaxysd.data.sources import ImageSource

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
        f"{counted(info.galaxies, 'galaxy', 'galaxies')} in {out} ({splits})"
        + ("" if report.built else ", already done"),
        f"rejected  {info.rejected_rows:,} rows, {info.images_without_row:,} images without a row (rejected.parquet)",
    ]
    show(result, as_json, "\n".join(lines))


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
