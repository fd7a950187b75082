"""Splits: shares, one sky position in one split, catalogues that agree."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.catalog.catalog import Catalog, complete
from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.splits import assign_splits, check_disjoint
from galaxysd.catalog.tree import DecisionTree, Question
from galaxysd.errors import InputError

TREE = DecisionTree(name="tiny", questions=(Question(key="kind", text="?", answers=("smooth", "disk")),))
ARCSEC = 1 / 3600


def catalog(
    ids: list[str],
    ra: list[float] | None = None,
    dec: list[float] | None = None,
    *,
    split: str | None = None,
    file: list[str] | None = None,
    survey: str = "sdss",
) -> Catalog:
    columns: dict[str, object] = {"id": ids, "kind_smooth": [1.0] * len(ids), "kind_disk": [0.0] * len(ids)}
    columns |= {name: values for name, values in (("ra", ra), ("dec", dec), ("file", file)) if values is not None}
    columns |= {"split": [split] * len(ids)} if split else {}
    return Catalog(complete(pl.DataFrame(columns), TREE), TREE, survey)


def splits(catalog: Catalog) -> dict[str, str]:
    return dict(catalog.frame.select("id", "split").iter_rows())


def sky(number: int, seed: int = 0) -> Catalog:
    rng = np.random.default_rng(seed)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, number)))
    return catalog([f"g{index}" for index in range(number)], rng.uniform(0, 360, number).tolist(), dec.tolist())


def test_shares_with_and_without_positions() -> None:
    for made in (sky(6000), catalog([f"g{number}" for number in range(6000)])):
        shares = assign_splits(made, seed=7).frame["split"].value_counts(normalize=True)
        found = dict(shares.iter_rows())
        assert found == {"train": pytest.approx(0.80, abs=0.02), "val": pytest.approx(0.05, abs=0.01),
                         "test": pytest.approx(0.15, abs=0.02)}  # fmt: skip


def test_the_split_is_fixed_for_good() -> None:
    """Splits of shipped models: if these change, old models have seen new test galaxies."""
    made = catalog(["a", "b", "c", "d", "e", "f"], [10.0, 50.0, 100.0, 150.0, 200.0, 300.0], [0.0] * 6)
    assert list(splits(assign_splits(made, seed=0)).values()) == GOLDEN_SKY
    assert list(splits(assign_splits(catalog(list("abcdef")), seed=0)).values()) == GOLDEN_ID


GOLDEN_SKY = ["train", "test", "train", "train", "train", "train"]
GOLDEN_ID = ["train", "train", "test", "train", "val", "test"]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), order=st.randoms(use_true_random=False))
def test_rows_order_does_not_matter(seed: int, order: object) -> None:
    made = sky(60)
    rows = list(range(60))
    order.shuffle(rows)  # type: ignore[attr-defined]
    shuffled = made.with_frame(made.frame[rows])
    assert splits(assign_splits(made, seed)) == splits(assign_splits(shuffled, seed))


def test_close_galaxies_stay_together_wherever_they_are() -> None:
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 2000), np.degrees(np.arcsin(rng.uniform(-1, 1, 2000)))
    ra[:4], dec[:4] = [0.0, 359.9999, 12.0, 200.0], [0.0, 0.0, 89.999, -89.999]
    # a chain of three, 25 arcsec from one to the next, from every galaxy towards the equator
    step = 25 * ARCSEC * np.where(dec > 0, -1, 1)
    chains = [dec + step * number for number in range(3)]
    ids = [f"g{index}_{number}" for number in range(3) for index in range(2000)]
    made = assign_splits(catalog(ids, np.tile(ra, 3).tolist(), np.concatenate(chains).tolist()), seed=1)
    split = made.frame["split"].to_numpy().reshape(3, 2000)
    assert (split[0] == split[1]).all()
    assert (split[0] == split[2]).all()
    check_disjoint([made])


def test_across_the_edge_of_right_ascension() -> None:
    for seed in range(12):
        made = assign_splits(catalog(["a", "b"], [0.001, 359.999], [0.0, 0.0]), seed)
        assert len(set(splits(made).values())) == 1


def test_many_entries_at_one_position() -> None:
    made = assign_splits(catalog([f"g{number}" for number in range(20_000)], [10.0] * 20_000, [5.0] * 20_000), seed=0)
    assert made.frame["split"].n_unique() == 1


def test_two_catalogues_mostly_agree_by_themselves() -> None:
    one = sky(3000)
    moved = one.frame.with_columns(pl.col("id") + "x", dec=(pl.col("dec") + 0.3 * ARCSEC).clip(-90, 90))
    two = Catalog(moved, TREE, "legacy")
    same = assign_splits(one, 0).frame["split"] == assign_splits(two, 0).frame["split"]
    assert 0.99 < same.mean() < 1


@pytest.mark.parametrize("given_split", ["train", "val", "test"])
def test_splits_are_handed_down(given_split: str) -> None:
    like = catalog(["old", "900"], [10.0, 30.0], [0.0, 0.0], split=given_split, file=["old.jpg", "55.jpg"])
    new = catalog(
        ["near", "neighbour", "old", "K7"],
        [10.0 + 4 * ARCSEC, 10.0 + 28 * ARCSEC, 77.0, 120.0],
        [0.0, 0.0, 0.0, 0.0],
        survey="kaggle",
    )
    aliases = pl.DataFrame({"asset": ["55"], "galaxy": ["K7"]})
    made = assign_splits(new, seed=0, like=[like], aliases=aliases)
    assert set(splits(made).values()) == {given_split}
    check_disjoint([like, made])
    # and from the other side of the alias table
    first = catalog(["K7"], split=given_split, survey="kaggle")
    second = catalog(["900"], [30.0], [0.0], file=["55.jpg"])
    assert splits(assign_splits(second, seed=0, like=[first], aliases=aliases)) == {"900": given_split}


def test_a_group_follows_its_known_member() -> None:
    for given_split in ("train", "test"):
        like = catalog(["old"], [10.0], [0.0], split=given_split)
        chain = catalog(["a", "b", "c"], [10.0, 10.0 + 25 * ARCSEC, 10.0 + 50 * ARCSEC], [0.0, 0.0, 0.0])
        assert set(splits(assign_splits(chain, seed=0, like=[like])).values()) == {given_split}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), other=st.integers(0, 1000))
def test_what_is_handed_down_is_always_disjoint(seed: int, other: int) -> None:
    one = assign_splits(sky(200, seed=1), seed)
    rng = np.random.default_rng(other)
    half = one.frame.sample(100, seed=other)
    moved = half.with_columns(
        ra=pl.Series((half["ra"].to_numpy() + rng.normal(0, 1, 100) * ARCSEC) % 360),
        id=pl.Series([f"n{number}" for number in range(100)]),
    ).drop("split")
    two = assign_splits(Catalog(moved, TREE, "legacy"), seed + 1, like=[one])
    check_disjoint([one, two])


def test_mixing_is_refused() -> None:
    train, test = catalog(["a"], [10.0], [0.0], split="train"), catalog(["b"], [10.0 + ARCSEC], [0.0], split="test")
    with pytest.raises(InputError, match=r"'a' in train and 'b' in test"):
        check_disjoint([train, test])
    with pytest.raises(InputError, match=r"'a' in train and test"):
        check_disjoint([catalog(["a"], split="train"), catalog(["a"], split="test")])
    check_disjoint([catalog(["a"], split="train"), catalog(["a"], split="test", survey="efigi")])
    check_disjoint([train, catalog(["c"], [10.0 + 3 * ARCSEC], [0.0], split="test")])


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="without a split"):
        check_disjoint([catalog(["a"])])
    with pytest.raises(InputError, match="without a split"):
        assign_splits(catalog(["a"]), seed=0, like=[catalog(["b"])])
    with pytest.raises(InputError, match="two columns"):
        assign_splits(catalog(["a"]), seed=0, aliases=pl.DataFrame({"one": ["a"]}))


def test_real_sets_share_one_split(galaxy_data: Path) -> None:
    tree = DecisionTree.load("gz2")
    done: list[Catalog] = []
    for name, survey in (("gz2_fixed_scale", "sdss"), ("gz2_stripe82", "stripe82"), ("gz_kaggle", "kaggle")):
        made = read_votes(galaxy_data / name / "catalogue.csv.gz", tree=tree, survey=survey)
        done.append(assign_splits(made, seed=0, like=done))
    check_disjoint(done)
    asset_is_galaxy = pl.DataFrame(
        {"asset_id": ["130549", "160127", "40206"], "GalaxyID": ["100521", "951589", "897144"]}
    )
    petrosian = read_votes(galaxy_data / "gz2_petrosian" / "catalogue.csv.gz", tree=tree, survey="petrosian")
    split = assign_splits(petrosian, seed=0, like=done, aliases=asset_is_galaxy)
    by_asset = dict(split.frame.select("source_asset_id", "split").iter_rows())
    by_galaxy = splits(done[2])
    for asset, galaxy in asset_is_galaxy.iter_rows():
        assert by_asset[asset] == by_galaxy[galaxy]
