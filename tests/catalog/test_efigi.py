"""EFIGI attributes as answers: each rule on a made-up galaxy, and the counts of the real set."""

from pathlib import Path

import polars as pl
import pytest

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.readers.efigi import ATTRIBUTES
from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError

TREE = DecisionTree.load("efigi")


def read(folder: Path, **attributes: float) -> Catalog:
    """One face-on Sb without any attribute but those given."""
    path = folder / "efigi.csv"
    values = dict.fromkeys(ATTRIBUTES, 0.0) | {"T": 3.0} | attributes
    pl.DataFrame({"PGCname": ["PGC0000212"], **{name: [value] for name, value in values.items()}}).write_csv(path)
    return read_votes(path, tree=TREE, survey="efigi")


def chosen(catalog: Catalog, question: str) -> dict[str, float | None]:
    """Answers of a question that are not 0."""
    answers = TREE.by_key[question]
    values = {answer: catalog.frame[column][0] for answer, column in zip(answers.answers, answers.columns, strict=True)}
    return {answer: value for answer, value in values.items() if value != 0}


def unknown(question: str) -> dict[str, None]:
    return dict.fromkeys(TREE.by_key[question].answers)


@pytest.mark.parametrize(
    ("attributes", "question", "expected"),
    [
        ({"T": -5}, "t01_smooth_or_features", {"a01_smooth": 1}),
        ({"T": 11}, "t01_smooth_or_features", {"a01_smooth": 1}),
        ({"T": 1}, "t01_smooth_or_features", {"a02_features_or_disk": 1}),
        ({"T": 10}, "t01_smooth_or_features", {"a02_features_or_disk": 1}),
        ({"T": 0}, "t01_smooth_or_features", None),
        ({"Inclination": 1}, "t02_edgeon", {"a04_yes": 1}),
        ({"Inclination": 0.75}, "t02_edgeon", {"a04_yes": 0.5, "a05_no": 0.5}),
        ({"Inclination": 0.5}, "t02_edgeon", {"a05_no": 1}),
        ({"T": -1, "Inclination": 1}, "t02_edgeon", None),
        ({"Bar_Length": 0}, "t03_bar", {"a07_no_bar": 1}),
        ({"Bar_Length": 0.25}, "t03_bar", {"a06_bar": 0.5, "a07_no_bar": 0.5}),
        ({"Bar_Length": 0.5}, "t03_bar", {"a06_bar": 1}),
        ({"Bar_Length": -1}, "t03_bar", None),
        ({"Bar_Length": 1, "Inclination": 1}, "t03_bar", None),
        ({"Bar_Length": 1, "T": 0}, "t03_bar", {"a06_bar": 1}),
        ({"Bar_Length": 1, "T": -2}, "t03_bar", None),
        ({"Arm_Strength": 0.25}, "t04_spiral", {"a08_spiral": 1}),
        ({"Arm_Strength": 0}, "t04_spiral", {"a09_no_spiral": 1}),
        ({"Arm_Strength": -1}, "t04_spiral", None),
        ({"Arm_Strength": 1, "Inclination": 1}, "t04_spiral", None),
        ({"Bulge_to_Total": 0}, "t05_bulge_prominence", {"a10_no_bulge": 1}),
        ({"Bulge_to_Total": 0.25}, "t05_bulge_prominence", {"a11_just_noticeable": 1}),
        ({"Bulge_to_Total": 0.5, "T": 0}, "t05_bulge_prominence", {"a12_obvious": 1}),
        ({"Bulge_to_Total": 0.75}, "t05_bulge_prominence", {"a13_dominant": 1}),
        ({"Bulge_to_Total": 1, "T": 10}, "t05_bulge_prominence", None),
        ({"T": -5, "Inclination": 0}, "t07_rounded", {"a16_completely_round": 1}),
        ({"T": -5, "Inclination": 0.5}, "t07_rounded", {"a17_in_between": 1}),
        ({"T": 11, "Inclination": 0.75}, "t07_rounded", {"a18_cigar_shaped": 1}),
        ({"T": 2}, "t07_rounded", None),
        ({"Visible_Dust": 1, "Inclination": 1}, "t08_odd_feature", {"a38_dust_lane": 1}),
        ({"Visible_Dust": 0.75, "Inclination": 0.75}, "t08_odd_feature", {"a38_dust_lane": 0.5}),
        ({"Visible_Dust": 0.5, "Inclination": 1}, "t08_odd_feature", {}),
        ({"T": -2, "Visible_Dust": 0.75}, "t08_odd_feature", {"a38_dust_lane": 0.75}),
        ({"T": -2, "Visible_Dust": 0.25}, "t08_odd_feature", {}),
        ({"Visible_Dust": 1, "Inclination": 0.5, "Multiplicity": 0.25}, "t08_odd_feature", {"a24_merger": 0.25}),
        ({"Inclination": 1, "Inner_Ring": -1, "Outer_Ring": -1, "Pseudo_Ring": -1}, "t08_odd_feature", {}),
        ({"Inner_Ring": 0.25, "Outer_Ring": 0.5, "Pseudo_Ring": -1}, "t08_odd_feature", {"a19_ring": 0.5}),
        ({"T": 10, "Perturbation": 0.5}, "t08_odd_feature", {"a22_irregular": 1, "a21_disturbed": 0.5}),
        ({"Inner_Ring": -1, "Outer_Ring": -1, "Pseudo_Ring": -1}, "t08_odd_feature", {"a19_ring": None}),
        ({"T": -4, "Inner_Ring": -1, "Outer_Ring": -1, "Pseudo_Ring": -1}, "t08_odd_feature", {}),
        ({"Arm_Strength": 1, "Arm_Curvature": 0.75}, "t10_arms_winding", {"a28_tight": 1}),
        ({"Arm_Strength": 1, "Arm_Curvature": 0.5}, "t10_arms_winding", {"a29_medium": 1}),
        ({"Arm_Strength": 1, "Arm_Curvature": 0.25}, "t10_arms_winding", {"a30_loose": 1}),
        ({"Arm_Strength": 1, "Arm_Curvature": -1}, "t10_arms_winding", None),
        ({"Arm_Strength": 0, "Arm_Curvature": 0.5}, "t10_arms_winding", None),
        ({"T": -4}, "stage", {"elliptical": 1}),
        ({"T": 2}, "stage", {"early_spiral": 1}),
        ({"T": 11}, "stage", {"dwarf_elliptical": 1}),
    ],
)
def test_rules(tmp_path: Path, attributes: dict[str, float], question: str, expected: dict[str, float] | None) -> None:
    assert chosen(read(tmp_path, **attributes), question) == (unknown(question) if expected is None else expected)


def test_the_source_is_kept_and_there_are_no_votes(tmp_path: Path) -> None:
    catalog = read(tmp_path, Bar_Length=-1)
    assert catalog.frame["source_Bar_Length"][0] == -1
    assert catalog.frame["file"][0] == "PGC0000212.jpg"
    assert all(catalog.frame[question.votes].is_null().all() for question in TREE.questions)


def test_impossible_values(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"PGC0000212: T is 12"):
        read(tmp_path, T=12)
    with pytest.raises(InputError, match=r"Visible_Dust is 1\.5"):
        read(tmp_path, Visible_Dust=1.5)
    path = tmp_path / "efigi.csv"
    pl.read_csv(path).drop("Inclination").write_csv(path)
    with pytest.raises(InputError, match="'Inclination' missing"):
        read_votes(path, tree=TREE, survey="efigi")


def test_it_needs_its_own_tree(tmp_path: Path) -> None:
    read(tmp_path)
    with pytest.raises(InputError, match="tree 'efigi', not of 'gz2'"):
        read_votes(tmp_path / "efigi.csv", tree=DecisionTree.load("gz2"), survey="efigi")


def test_real_counts(galaxy_data: Path) -> None:
    frame = read_votes(galaxy_data / "efigi" / "catalogue.csv.gz", tree=TREE, survey="efigi").frame
    assert frame.height == 3589
    stages = {answer: int(frame[f"stage_{answer}"].sum()) for answer in TREE.by_key["stage"].answers}
    assert stages["elliptical"] == 227
    assert stages["lenticular"] == 442
    assert stages["irregular"] == 190
    assert stages["dwarf_elliptical"] == 62
    assert sum(stages.values()) == 3589
    early = frame.filter(pl.col("source_T") <= -1)
    dust = pl.col("t08_odd_feature_a38_dust_lane")
    assert (early.height, early.filter(dust >= 0.5).height, early.filter(dust >= 0.75).height) == (669, 51, 14)
    assert frame.filter(dust >= 0.5).height == 391
    assert frame.filter(pl.col("source_Bar_Length") >= 0.5).height == 857
    assert frame.filter(pl.col("t08_odd_feature_a24_merger") >= 0.5).height == 66
