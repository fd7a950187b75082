"""Selections: cuts against the published table, classes, mixes, rare extras, withheld combinations, real counts."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.catalog.catalog import Catalog, complete
from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.selection import (
    add_rare,
    balance,
    classify,
    clean,
    feature,
    gz2_class,
    well_sampled,
    withhold,
)
from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError

TREE = DecisionTree.load("gz2")
DISK, SMOOTH = "t01_smooth_or_features_a02_features_or_disk", "t01_smooth_or_features_a01_smooth"
EDGE, OBLIQUE = "t02_edgeon_a04_yes", "t02_edgeon_a05_no"
BAR, NO_BAR = "t03_bar_a06_bar", "t03_bar_a07_no_bar"
SPIRAL, NO_SPIRAL = "t04_spiral_a08_spiral", "t04_spiral_a09_no_spiral"
ODD, DUST = "t06_odd_a14_yes", "t08_odd_feature_a38_dust_lane"
RULES = {  # gz2.md, section 3, spelled out for (10, 20) votes
    "t02_edgeon": {DISK: (0.227, 0.430)},
    "t03_bar": {DISK: (0.227, 0.430), OBLIQUE: (0.519, 0.715)},
    "t04_spiral": {DISK: (0.227, 0.430), OBLIQUE: (0.519, 0.715)},
    "t05_bulge_prominence": {DISK: (0.227, 0.430), OBLIQUE: (0.519, 0.715)},
    "t07_rounded": {SMOOTH: (0.263, 0.469)},
    "t08_odd_feature": {ODD: (0.223, 0.420)},
    "t09_bulge_shape": {DISK: (0.227, 0.430), EDGE: (0.326, 0.602)},
    "t10_arms_winding": {DISK: (0.227, 0.430), OBLIQUE: (0.519, 0.715), SPIRAL: (0.402, 0.619)},
    "t11_arms_number": {DISK: (0.227, 0.430), OBLIQUE: (0.519, 0.715), SPIRAL: (0.402, 0.619)},
    "t01_smooth_or_features": {},
    "t06_odd": {},
}


def galaxies(*rows: dict[str, object], votes: float | None = 40) -> Catalog:
    """One galaxy per row with the given columns; every question has the same number of votes unless a row says so."""
    counts = {question.votes: votes for question in TREE.questions}
    frame = pl.DataFrame(
        [{"id": f"g{number}", **counts, **row} for number, row in enumerate(rows)], infer_schema_length=None
    )
    return Catalog(complete(frame, TREE), TREE, "sdss")


@pytest.mark.parametrize("question", RULES)
@pytest.mark.parametrize("votes", [10, 20])
def test_well_sampled_is_the_published_table(question: str, votes: int) -> None:
    cuts = {answer: pair[votes == 20] for answer, pair in RULES[question].items()}
    above = {answer: cut + 0.001 for answer, cut in cuts.items()}
    enough = {TREE.by_key[question].votes: votes}
    at_a_cut = [above | enough | {answer: cut} for answer, cut in cuts.items()]
    catalog = galaxies(above | enough, above | {TREE.by_key[question].votes: votes - 1}, *at_a_cut, {**enough})
    # the last galaxy has no fractions at all, which only questions asked of everyone forgive
    assert well_sampled(catalog, question, votes).to_list() == [True, False, *(False for _ in cuts), not cuts]


def test_cuts_use_weighted_fractions_and_choices_debiased_ones() -> None:
    kept = {f"source_{DISK}_weighted_fraction": 0.5, f"source_{EDGE}_debiased": 0.95}
    catalog = galaxies({DISK: 0.1, EDGE: 0.2, **kept})
    assert well_sampled(catalog, "t02_edgeon").to_list() == [True]
    assert clean(catalog, EDGE).to_list() == [True]
    assert clean(catalog, OBLIQUE).to_list() == [False]
    without = galaxies({DISK: 0.1, EDGE: 0.95})
    assert clean(without, EDGE).to_list() == [False]


def test_without_counts_an_estimate_has_to_be_asked_for() -> None:
    catalog = galaxies({DISK: 0.5, SMOOTH: 0.5}, {DISK: 0.44, SMOOTH: 0.56}, votes=None)
    with pytest.raises(InputError, match="classifications=44"):
        well_sampled(catalog, "t02_edgeon")
    assert well_sampled(catalog, "t02_edgeon", classifications=44).to_list() == [True, False], "0.44 x 44 votes are 19"
    assert well_sampled(catalog, "t02_edgeon", classifications=46).to_list() == [True, True]


def test_bad_questions() -> None:
    catalog = galaxies({DISK: 1.0})
    with pytest.raises(InputError, match="t12_tails"):
        well_sampled(catalog, "t12_tails")
    with pytest.raises(InputError, match="not for 15"):
        well_sampled(catalog, "t03_bar", votes=15)
    with pytest.raises(InputError, match="a39"):
        clean(catalog, "t08_odd_feature_a39_shell")
    with pytest.raises(InputError, match="no answers to question t01_smooth"):
        gz2_class(galaxies({ODD: 1.0}))


def test_feature_needs_the_whole_way() -> None:
    catalog = galaxies(
        {DISK: 0.6, OBLIQUE: 0.6, BAR: 0.6}, {DISK: 0.4, OBLIQUE: 0.6, BAR: 1.0}, {DISK: 0.6, OBLIQUE: 0.6}
    )
    assert feature(catalog, BAR).to_list() == [True, False, False]
    assert feature(catalog, BAR, threshold=0.3).to_list() == [True, True, False]


def test_coarse_classes() -> None:
    disk = {DISK: 0.9, SMOOTH: 0.1, EDGE: 0.1, OBLIQUE: 0.9}
    catalog = galaxies(
        {SMOOTH: 0.9, DISK: 0.1, "t07_rounded_a18_cigar_shaped": 1.0},
        {SMOOTH: 0.9, DISK: 0.1},
        {DISK: 1.0, EDGE: 0.6, OBLIQUE: 0.4},
        {**disk, BAR: 0.6, NO_BAR: 0.4, SPIRAL: 0.8, NO_SPIRAL: 0.2},
        {**disk, BAR: 0.5, NO_BAR: 0.5, SPIRAL: 0.8, NO_SPIRAL: 0.2},
        {**disk, SPIRAL: 0.8, NO_SPIRAL: 0.2},
        {**disk, BAR: 0.6, NO_BAR: 0.4, SPIRAL: 0.2, NO_SPIRAL: 0.8},
        {**disk, BAR: 0.1, NO_BAR: 0.9, SPIRAL: 0.5, NO_SPIRAL: 0.5},
        {"t01_smooth_or_features_a03_star_or_artifact": 1.0},
        {},
    )
    expected = [
        "cigar",
        None,
        "edge_on",
        "barred_spiral",
        "unbarred_spiral",
        "spiral",
        "barred_disk",
        "disk",
        "artifact",
    ]
    assert classify(catalog).to_list() == [*expected, None]


def mix(counts: dict[str, int]) -> tuple[Catalog, pl.Series]:
    labels = [name for name, count in counts.items() for _ in range(count)]
    return galaxies(*({SMOOTH: 1.0} for _ in labels)), pl.Series(labels)


def test_balance_reaches_the_mix_and_says_what_it_took() -> None:
    catalog, labels = mix({"common": 70, "middle": 20, "rare": 10, "other": 5})
    result = balance(catalog, {"common": 0.5, "middle": 0.3, "rare": 0.2}, seed=1, classes=labels)
    assert result.before == {"common": 70, "middle": 20, "rare": 10, "other": 5}
    assert result.after == {"common": 25, "middle": 15, "rare": 10}
    kept = result.catalog.frame["id"].is_in(catalog.frame["id"].filter(labels == "rare").implode())
    assert (len(result.catalog), kept.sum()) == (50, 10)


def test_balance_does_not_lose_a_galaxy_to_rounding() -> None:
    catalog, labels = mix({"common": 20, "rare": 1})  # 1 / 0.09 * 0.09 is less than 1
    assert balance(catalog, {"common": 0.91, "rare": 0.09}, seed=0, classes=labels).after["rare"] == 1


def test_balance_depends_on_seed_and_ids_only() -> None:
    catalog, labels = mix({"common": 40, "rare": 5})
    target = {"common": 0.5, "rare": 0.5}

    def ids(catalog: Catalog, labels: pl.Series, seed: int) -> set[str]:
        return set(balance(catalog, target, seed, classes=labels).catalog.frame["id"])

    backwards = catalog.with_frame(catalog.frame.reverse())
    assert ids(catalog, labels, 1) == ids(backwards, labels.reverse(), 1) != ids(catalog, labels, 2)


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    shares=st.lists(st.integers(1, 9), min_size=4, max_size=4),
)
def test_balance_never_wastes_a_galaxy(counts: list[int], shares: list[int]) -> None:
    catalog, labels = mix({f"class{number}": count for number, count in enumerate(counts)})
    total = sum(shares[: len(counts)])
    target = {f"class{number}": share / total for number, share in zip(range(len(counts)), shares, strict=False)}
    result = balance(catalog, target, seed=0, classes=labels)
    assert len(result.catalog) == sum(result.after.values())
    assert all(result.after[name] <= result.before[name] for name in target)
    assert any(result.after[name] == result.before[name] for name in target), "one class is used up"


def test_bad_mixes() -> None:
    catalog, labels = mix({"common": 4})
    with pytest.raises(InputError, match="sum to 1"):
        balance(catalog, {"common": 0.5}, seed=0, classes=labels)
    with pytest.raises(InputError, match="no galaxies of class 'rare'"):
        balance(catalog, {"common": 0.5, "rare": 0.5}, seed=0, classes=labels)


def test_rare_galaxies_come_back_once() -> None:
    pool = galaxies({SMOOTH: 1.0}, {ODD: 0.9, DUST: 0.9}, {ODD: 0.1, DUST: 1.0}, {ODD: 0.5, DUST: 0.5})
    chosen = pool.with_frame(pool.frame.filter(pl.col("id").is_in(["g0", "g3"])))
    assert add_rare(chosen, pool, DUST).frame["id"].to_list() == ["g0", "g3", "g1"]
    with pytest.raises(InputError, match="efigi"):
        add_rare(chosen, Catalog(pool.frame, TREE, "efigi"), DUST)


def test_withheld_galaxies_are_gone_and_listed() -> None:
    catalog = galaxies({SMOOTH: 0.9, DUST: 0.9}, {SMOOTH: 0.9, DUST: 0.1}, {SMOOTH: 0.1, DUST: 0.9}, {SMOOTH: 0.9})
    kept, withheld = withhold(catalog, [f"{SMOOTH} > 0.5 AND {DUST} >= 0.5", "source_T <= -1"])
    assert withheld == ["g0"]
    assert kept.frame["id"].to_list() == ["g1", "g2", "g3"]


@pytest.mark.parametrize(
    "condition", [f"{DUST} >", f"{DUST} * 2", f"MAX({DUST}) > 0.5", "id > 5", "", f"{SMOOTH} >= 0"]
)
def test_bad_conditions(condition: str) -> None:
    with pytest.raises(InputError, match="condition") as caught:
        withhold(galaxies({SMOOTH: 0.9, DUST: 0.9}, {SMOOTH: 0.5, DUST: 0.9}), [condition])
    assert "\n" not in str(caught.value)


# The counts below are those of the description that comes with the data. Since then 3 galaxies of stripe82 were taken
# out, and it sorts 4 galaxies without a debiased value for "completely round" under in-between.
COARSE = {
    "gz2_fixed_scale": {
        "round": 996, "in_between": 1335, "cigar": 452, "edge_on": 1229, "barred_spiral": 1401,
        "unbarred_spiral": 1309, "barred_disk": 342, "disk": 481, "artifact": 11,
    },
    "gz2_petrosian": {
        "round": 126, "in_between": 150, "cigar": 46, "edge_on": 218, "barred_spiral": 79,
        "unbarred_spiral": 108, "barred_disk": 21, "disk": 129, "artifact": 2,
    },
    "gz2_stripe82": {
        "round": 105, "in_between": 101, "cigar": 16, "edge_on": 20, "barred_spiral": 20,
        "unbarred_spiral": 45, "barred_disk": 4, "disk": 28, "artifact": 3,
    },
}  # fmt: skip
RING, MERGER = "t08_odd_feature_a19_ring", "t08_odd_feature_a24_merger"
LOOSE = {
    "gz2_fixed_scale": {EDGE: 1249, SPIRAL: 2743, BAR: 1680, ODD: 1079, RING: 405, MERGER: 91, DUST: 21},
    "gz2_petrosian": {EDGE: 218, SPIRAL: 183, BAR: 96, ODD: 176, RING: 22, MERGER: 122, DUST: 4},
    "gz2_stripe82": {EDGE: 19, SPIRAL: 62, BAR: 23, ODD: 35, RING: 6, MERGER: 10, DUST: 0},
}
SAMPLED = {
    "gz2_fixed_scale": {EDGE: 592, SPIRAL: 1465, BAR: 854, RING: 279, MERGER: 87, DUST: 11},
    "gz2_stripe82": {EDGE: 11, SPIRAL: 41, BAR: 14, RING: 5, MERGER: 8, DUST: 0},
}
REMOVED = {"gz2_fixed_scale": 0, "gz2_petrosian": 0, "gz2_stripe82": 3}


def real(galaxy_data: Path, name: str, **options: object) -> Catalog:
    return read_votes(galaxy_data / name / "catalogue.csv.gz", tree=TREE, survey="sdss", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", COARSE)
@pytest.mark.parametrize("fractions", ["weighted", "debiased"])
def test_real_coarse_classes(galaxy_data: Path, name: str, fractions: str) -> None:
    counts = dict(classify(real(galaxy_data, name, fractions=fractions)).value_counts().iter_rows())
    off = {label: abs(counts[label] - count) for label, count in COARSE[name].items()}
    assert sum(counts.values()) == sum(COARSE[name].values()) - REMOVED[name]
    if name == "gz2_fixed_scale":
        assert (off.pop("round"), off.pop("in_between")) == (4, 4)
    assert sum(off.values()) <= REMOVED[name] + 1


@pytest.mark.parametrize("name", LOOSE)
def test_real_features(galaxy_data: Path, name: str) -> None:
    catalog = real(galaxy_data, name)
    for answer, count in LOOSE[name].items():
        assert count - REMOVED[name] <= feature(catalog, answer).sum() <= count, answer
    votes = 10 if name == "gz2_stripe82" else 20
    for answer, count in SAMPLED.get(name, {}).items():
        assert count - REMOVED[name] <= clean(catalog, answer, votes, threshold=0.5).sum() <= count, answer


def test_real_dust_lanes(galaxy_data: Path) -> None:
    catalog = real(galaxy_data, "gz2_fixed_scale")
    dusty = feature(catalog, DUST, threshold=0.4)
    assert (dusty.sum(), (dusty & feature(catalog, SMOOTH)).sum()) == (41, 8)
    nothing = catalog.filter(~dusty)
    assert len(add_rare(nothing, catalog, DUST)) == len(catalog)


def test_the_flag_of_the_table_is_no_clean_sample(galaxy_data: Path) -> None:
    catalog = real(galaxy_data, "gz2_fixed_scale")
    assert (catalog.frame[f"source_{BAR}_debiased"] >= 0.8).sum() == 1377, "as many as carry the flag"
    assert clean(catalog, BAR, threshold=0.79999).sum() == 500


@pytest.mark.parametrize("fractions", ["weighted", "debiased"])
def test_every_published_class_string_is_rebuilt(galaxy_data: Path, fractions: str) -> None:
    catalog = real(galaxy_data, "gz2_petrosian", fractions=fractions)
    assert (gz2_class(catalog) == catalog.frame["source_gz2_class"]).sum() == 879


def test_early_types_with_dust_are_withheld(galaxy_data: Path) -> None:
    efigi = read_votes(galaxy_data / "efigi" / "catalogue.csv.gz", tree=DecisionTree.load("efigi"), survey="efigi")
    kept, withheld = withhold(efigi, ["source_T <= -1 AND source_Visible_Dust >= 0.5"])
    assert (len(withheld), len(kept)) == (51, 3589 - 51)
