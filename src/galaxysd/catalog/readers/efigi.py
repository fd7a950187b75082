"""Reads EFIGI (Baillard et al. 2011): Hubble stage and attributes given by astronomers, turned into answers.

In: `PGCname`, `T` and attributes in steps of 0.25 from 0 to 1, -1 where an attribute is not defined for the type.
Out: a `Catalog` of tree `efigi`. There are no votes: an answer is 0, 0.5 or 1, or the strength of a feature (task 08),
and a question that makes no sense for a galaxy is null. Everything EFIGI says is kept in `source_…`.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from galaxysd.catalog.catalog import Catalog, complete
from galaxysd.catalog.source import SourceTable, numbers_where_possible
from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError

ID_COLUMN = "PGCname"
ATTRIBUTES = (
    "Bulge_to_Total",
    "Arm_Strength",
    "Arm_Curvature",
    "Bar_Length",
    "Inner_Ring",
    "Outer_Ring",
    "Pseudo_Ring",
    "Perturbation",
    "Visible_Dust",
    "Inclination",
    "Multiplicity",
)

_STAGES = {
    "elliptical": (-6, -4),
    "lenticular": (-3, -1),
    "early_spiral": (0, 2),
    "intermediate_spiral": (3, 5),
    "late_spiral": (6, 9),
    "irregular": (10, 10),
    "dwarf_elliptical": (11, 11),
}


def recognise(names: Sequence[str]) -> bool:
    """Whether the column names are those of EFIGI."""
    return {ID_COLUMN, "T", "Visible_Dust"} <= set(names)


def read(table: SourceTable, *, tree: DecisionTree, survey: str) -> Catalog:
    """Read the EFIGI attributes. The image is the table's `file`, or `{PGCname}.jpg` where it has no such column.

    Raises:
        InputError: the tree is not `efigi`, a column is missing, or a value is impossible.
    """
    needed = (ID_COLUMN, "T", *ATTRIBUTES)
    missing = [name for name in needed if name not in table.names]
    if missing:
        raise InputError(f"{table.path}: column {missing[0]!r} missing, expected the EFIGI attributes")
    answers = _answers()
    foreign = [name for name in answers if name not in tree.columns]
    if foreign:
        raise InputError(f"{table.path}: EFIGI attributes answer the questions of tree 'efigi', not of {tree.name!r}")
    carried = [name for name in table.names if name not in (ID_COLUMN, "file")]
    columns: dict[str, pl.DataType | None] = dict.fromkeys(carried)
    columns |= {name: pl.Float32() for name in ("T", *ATTRIBUTES)} | {ID_COLUMN: pl.String()}
    file = pl.col(ID_COLUMN) + ".jpg"
    if "file" in table.names:
        columns["file"] = pl.String()
        file = pl.col("file")
    raw = table.collect(table.scan(columns))
    _check(raw, str(table.path))
    defined = raw.with_columns(pl.when(pl.col(ATTRIBUTES) >= 0).then(pl.col(ATTRIBUTES)))
    frame = defined.select(
        pl.col(ID_COLUMN).alias("id"), file.alias("file"), *(values.alias(name) for name, values in answers.items())
    )
    source = numbers_where_possible(raw.select(carried), carried).select(pl.all().name.prefix("source_"))
    return Catalog(complete(frame.hstack(source), tree), tree, survey)


def _check(raw: pl.DataFrame, path: str) -> None:
    """Stage is a whole number from -6 to 11, attributes are -1 or in [0, 1]."""
    stage = pl.col("T").is_between(-6, 11) & (pl.col("T") == pl.col("T").round())
    rules = {"T": (stage, "a stage from -6 to 11")}
    for name in ATTRIBUTES:
        rules[name] = ((pl.col(name) == -1) | pl.col(name).is_between(0, 1), "a value in [0, 1], or -1 for undefined")
    for name, (rule, expected) in rules.items():
        wrong = raw.filter(~rule.fill_null(False))
        if wrong.height:
            raise InputError(f"{path}: {wrong[ID_COLUMN][0]}: {name} is {wrong[name][0]}, expected {expected}")


def _answers() -> dict[str, pl.Expr]:
    """Every answer as an expression over the attributes, which are null where EFIGI leaves them undefined."""
    stage, inclination, arms = pl.col("T"), pl.col("Inclination"), pl.col("Arm_Strength")
    early = stage.is_between(-6, -1) | (stage == 11)
    late = stage.is_between(1, 10)
    oblique = inclination < 1
    disk = late & oblique
    spiral = disk & (arms >= 0.25)

    smooth = pl.when(early).then(1.0).when(late).then(0.0)
    edge_on = pl.when(late).then(_steps("Inclination", {0.75: 0.5, 1.0: 1.0}))
    # a stage of 0 (S0/a) is neither early nor late, yet its bar is defined at any inclination
    bar = pl.when(disk | (stage == 0)).then(_steps("Bar_Length", {0.25: 0.5, 0.5: 1.0}))
    arm = pl.when(disk).then(_steps("Arm_Strength", {0.25: 1.0}))
    rings = pl.max_horizontal("Inner_Ring", "Outer_Ring", "Pseudo_Ring")
    # The dust of a disk is a lane where it is seen from the side (at 0.75 in about half of them) and patches, of which
    # Galaxy Zoo does not ask, where it is seen from above. In ellipticals and lenticulars it is a lane.
    disk_lane = pl.when(inclination >= 0.75).then(_steps("Visible_Dust", {0.75: 0.5, 1.0: 1.0})).otherwise(0.0)
    early_lane = _steps("Visible_Dust", {0.5: 0.5, 0.75: 0.75, 1.0: 1.0})
    lane = pl.when(stage <= -1).then(early_lane).otherwise(disk_lane)

    answers = {
        "t01_smooth_or_features_a01_smooth": smooth,
        "t01_smooth_or_features_a02_features_or_disk": 1 - smooth,
        "t01_smooth_or_features_a03_star_or_artifact": smooth * 0,
        "t02_edgeon_a04_yes": edge_on,
        "t02_edgeon_a05_no": 1 - edge_on,
        "t03_bar_a06_bar": bar,
        "t03_bar_a07_no_bar": 1 - bar,
        "t04_spiral_a08_spiral": arm,
        "t04_spiral_a09_no_spiral": 1 - arm,
        # EFIGI leaves rings undefined in an elliptical, which has none, and in a disk whose inclination hides them
        "t08_odd_feature_a19_ring": pl.coalesce(rings, pl.when((stage <= -4) | (inclination >= 0.75)).then(0.0)),
        "t08_odd_feature_a20_lens_or_arc": pl.lit(0.0),
        "t08_odd_feature_a21_disturbed": pl.col("Perturbation").fill_null(0),
        "t08_odd_feature_a22_irregular": (stage == 10).cast(pl.Float32),
        "t08_odd_feature_a23_other": pl.lit(0.0),
        "t08_odd_feature_a24_merger": pl.col("Multiplicity"),
        "t08_odd_feature_a38_dust_lane": lane,
    }
    answers |= _one_of(
        "t05_bulge_prominence",
        {
            "a10_no_bulge": (0, 0.1),
            "a11_just_noticeable": (0.1, 0.3),
            "a12_obvious": (0.3, 0.6),
            "a13_dominant": (0.6, 1),
        },
        pl.when(oblique & stage.is_between(0, 9)).then(pl.col("Bulge_to_Total")),
    )
    answers |= _one_of(
        "t07_rounded",
        {"a16_completely_round": (0, 0.1), "a17_in_between": (0.1, 0.6), "a18_cigar_shaped": (0.6, 1)},
        pl.when(early).then(inclination),
    )
    # curvature 1 is tightly wound: in the data it falls with the stage
    answers |= _one_of(
        "t10_arms_winding",
        {"a28_tight": (0.6, 1), "a29_medium": (0.3, 0.6), "a30_loose": (0, 0.3)},
        pl.when(spiral).then(pl.col("Arm_Curvature")),
    )
    return answers | _one_of("stage", _STAGES, stage)


def _steps(attribute: str, steps: dict[float, float]) -> pl.Expr:
    """0, and from each threshold of `steps` on its value; null where the attribute is undefined."""
    value: pl.Expr = pl.when(pl.col(attribute).is_not_null()).then(0.0)
    for threshold, answer in steps.items():
        value = pl.when(pl.col(attribute) >= threshold).then(answer).otherwise(value)
    return value


def _one_of(question: str, ranges: Mapping[str, tuple[float, float]], value: pl.Expr) -> dict[str, pl.Expr]:
    """One answer is 1: the one whose range holds the value. Attributes come in steps of 0.25, never on a border."""
    return {
        f"{question}_{answer}": pl.when(value.is_not_null()).then(value.is_between(low, high).cast(pl.Float32))
        for answer, (low, high) in ranges.items()
    }
