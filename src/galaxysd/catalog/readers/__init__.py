"""The one door for vote tables: recognises which survey's schema a table follows and hands it to its reader.

In: a CSV, CSV.gz, FITS, VOTable or Parquet file and the decision tree to read it with. Out: a `Catalog`.
"""

from pathlib import Path
from typing import Literal

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.readers import classes as hard_classes
from galaxysd.catalog.readers import efigi, galaxy_zoo, kaggle
from galaxysd.catalog.readers import table as plain_table
from galaxysd.catalog.readers.galaxy_zoo import Fractions
from galaxysd.catalog.source import SourceTable
from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError

Schema = Literal["galaxy_zoo", "kaggle", "efigi", "table", "classes"]

LOOKED_FOR = (
    "Galaxy Zoo 2 (<question>_<answer>_weighted_fraction), Kaggle (GalaxyID, Class1.1 …), EFIGI (PGCname, T, …), "
    "a table of tree {tree!r} ({example}), hard classes ({classes})"
)


def read_votes(
    path: str | Path,
    *,
    tree: DecisionTree,
    survey: str,
    schema: Schema | Literal["auto"] = "auto",
    fractions: Fractions = "weighted",
    mapping: str | Path | None = None,
    classes: str | Path | None = None,
) -> Catalog:
    """Read a table of votes.

    Args:
        path: CSV, CSV.gz, FITS, VOTable or Parquet.
        tree: the questions; those the table does not answer are null.
        survey: survey token (`sdss`, `efigi`, …).
        schema: what the columns mean; `auto` finds out from their names.
        fractions: weighted or debiased; only Galaxy Zoo 2 tables offer the choice.
        mapping: table `objid, sample, asset_id` that names the images of a Galaxy Zoo 2 table.
        classes: YAML file that says what hard classes mean (form: `catalog/classes/gz_kaggle.yaml`).

    Raises:
        InputError: the file is damaged, follows no known schema, or breaks the contract.
    """
    table = SourceTable(path)
    maps = [hard_classes.ClassMap.read(classes)] if classes is not None else hard_classes.built_in()
    if schema == "auto":
        schema = "classes" if classes is not None else _recognise(table, tree, maps)
    if schema != "galaxy_zoo" and (fractions != "weighted" or mapping is not None):
        option = "fractions" if fractions != "weighted" else "mapping"
        raise InputError(f"{path}: {option!r} is a choice for Galaxy Zoo 2 tables, this one is of schema {schema!r}")
    match schema:
        case "galaxy_zoo":
            return galaxy_zoo.read(table, tree=tree, survey=survey, fractions=fractions, mapping=mapping)
        case "kaggle":
            return kaggle.read(table, tree=tree, survey=survey)
        case "efigi":
            return efigi.read(table, tree=tree, survey=survey)
        case "table":
            return plain_table.read(table, tree=tree, survey=survey)
        case "classes":
            fitting = next((known for known in maps if hard_classes.recognise(table.names, known)), maps[0])
            return hard_classes.read(table, tree=tree, survey=survey, classes=fitting)


def _recognise(table: SourceTable, tree: DecisionTree, maps: list[hard_classes.ClassMap]) -> Schema:
    names = table.names
    if galaxy_zoo.recognise(names, tree):
        return "galaxy_zoo"
    if kaggle.recognise(names):
        return "kaggle"
    if efigi.recognise(names):
        return "efigi"
    if plain_table.recognise(names, tree):
        return "table"
    if any(hard_classes.recognise(names, known) for known in maps):
        return "classes"
    looked_for = LOOKED_FOR.format(
        tree=tree.name,
        example=f"{tree.columns[0]}, …",
        classes="; ".join(", ".join((known.id, *known.columns)) for known in maps),
    )
    shown = ", ".join(repr(name[:40]) for name in names[:4])
    raise InputError(f"{table.path}: a catalogue of another survey: it has {shown}, …; looked for {looked_for}")
