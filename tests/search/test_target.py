"""Hard negatives of a target: without its rare feature, the feature elsewhere, the survey's mix; what training saw."""

import polars as pl
import pytest
from tiny_model import save_tiny_model

from galaxysd.catalog import DecisionTree
from galaxysd.catalog.catalog import Catalog, complete
from galaxysd.diffusion.data import DataSettings
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.search.target import SearchTarget, combination_seen, make_target, warnings_of

COUNTS = {  # as the shipped generator saw them
    "t01_smooth_or_features_a01_smooth": 6748,
    "t01_smooth_or_features_a02_features_or_disk": 6661,
    "t02_edgeon_a04_yes": 2212,
    "t02_edgeon_a05_no": 6064,
    "t03_bar_a06_bar": 1476,
    "t03_bar_a07_no_bar": 3464,
    "t04_spiral_a08_spiral": 4039,
    "t04_spiral_a09_no_spiral": 2337,
    "t06_odd_a14_yes": 752,
    "t06_odd_a15_no": 6285,
    "t07_rounded_a17_in_between": 3813,
    "t08_odd_feature_a19_ring": 631,
    "t08_odd_feature_a24_merger": 344,
    "t08_odd_feature_a38_dust_lane": 308,
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> GalaxyPipeline:
    found = GalaxyPipeline.from_pretrained(save_tiny_model(tmp_path_factory.mktemp("model") / "model"))
    found.record = found.record.model_copy(update={"evidence": COUNTS})
    return found


def captions(search_target: SearchTarget) -> dict[str, str]:
    return {kind.name: kind.caption for kind in search_target.kinds}


@pytest.mark.parametrize(
    ("prompt", "no_feature", "other_host"),
    [
        ("early-type galaxy, {dust lane:1.3}", "smooth", "features or disk-shaped, {dust lane:1.3}"),
        ("in-between round galaxy, dust lane", "in-between round galaxy", "features or disk-shaped, dust lane"),
        (
            "barred spiral galaxy",
            "no bar, spiral galaxy",
            "bar-shaped structure in the center of galaxy, no spiral arms",
        ),
        ("dust lane", "ring galaxy", None),
    ],
)
def test_near_misses(pipeline: GalaxyPipeline, prompt: str, without: str, elsewhere: str | None) -> None:
    search_target = make_target(pipeline, prompt, survey="efigi")
    found = captions(search_target)
    assert found["no_feature"] == f"efigi, {without}" and found["background"] == "efigi"
    assert found.get("other_host") == (None if elsewhere is None else f"efigi, {elsewhere}")
    denied = {
        kind.morphology.fractions.get(search_target.rarest, 0)
        for kind in search_target.hard_negatives
        if kind.name != "other_host"
    }
    assert denied == {0.0}


def test_a_survey_in_the_prompt_is_kept_and_an_unknown_one_not_used(pipeline: GalaxyPipeline) -> None:
    assert captions(make_target(pipeline, "sdss, ring galaxy", survey="efigi"))["background"] == "sdss"
    assert captions(make_target(pipeline, "ring galaxy", survey="euclid"))["background"] == ""
    with pytest.raises(InputError, match="names no answer"):
        make_target(pipeline, "galaxy")


def catalog(rows: list[tuple[float, float, str]]) -> Catalog:
    tree = DecisionTree.load("gz2")
    smooth, odd = tree.by_key["t01_smooth_or_features"].columns, tree.by_key["t08_odd_feature"].columns
    frame = pl.DataFrame(
        [
            {
                **{"id": str(number), "file": None, "ra": None, "dec": None, "split": split},
                **dict.fromkeys((*smooth, *odd), 0.0),
                **{smooth[0]: value, odd[-1]: dust, "t06_odd_a14_yes": 1.0, "t06_odd_a15_no": 0.0},
            }
            for number, (value, dust, split) in enumerate(rows)
        ]
    )
    return Catalog(complete(frame, tree), tree, "sdss")


def test_a_combination_never_seen_is_told_with_the_nearest_one(pipeline: GalaxyPipeline) -> None:
    search_target = make_target(pipeline, "smooth, dust lane")
    phrases = {column: pipeline.vocabulary.phrase(column) for column in pipeline.record.tree.columns}
    apart = [(1.0, 0.0, "train")] * 30 + [(0.0, 1.0, "train")] * 12 + [(1.0, 1.0, "test")] * 20
    seen = combination_seen(search_target.target.morphology, [catalog(apart)], DataSettings())
    assert (seen.galaxies, seen.nearest_galaxies, len(seen.nearest)) == (0, 30, 1)
    (warning,) = warnings_of(search_target, seen, phrases)
    assert "never seen in training" in warning and "smooth (30 galaxies)" in warning
    together = combination_seen(
        search_target.target.morphology, [catalog([*apart, *[(1.0, 1.0, "train")] * 15])], DataSettings()
    )
    assert together.galaxies == 15 and warnings_of(search_target, together, phrases) == []
    dusty = "t08_odd_feature_a38_dust_lane > 0.5 AND t01_smooth_or_features_a01_smooth > 0.5"
    more = catalog([*apart, *[(1.0, 1.0, "train")] * 15])
    assert combination_seen(search_target.target.morphology, [more], DataSettings(withhold=(dusty,))).galaxies == 0
    few = more.with_frame(more.frame.with_columns(t08_odd_feature_votes=pl.lit(1.0, pl.Float32)))
    assert combination_seen(search_target.target.morphology, [few], DataSettings(min_votes=5)).galaxies == 0


def test_an_answer_never_seen_is_told_without_data(pipeline: GalaxyPipeline) -> None:
    phrases = {column: pipeline.vocabulary.phrase(column) for column in pipeline.record.tree.columns}
    (warning,) = warnings_of(make_target(pipeline, "lens or arc"), None, phrases)
    assert "saw 0 training galaxies with 'lens or arc'" in warning
