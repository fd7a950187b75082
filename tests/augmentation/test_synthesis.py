"""Synthetic galaxies are asked for by votes or prompts, made once, and go where galaxies lack."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import save_tiny_model

from galaxysd.augmentation.synthesis import (
    SynthesisSettings,
    need,
    prompted,
    read_prompts,
    synthesize_pool,
    voted,
)
from galaxysd.data.dataset import Dataset
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.prompts import Morphology

NAMES = ("smooth", "disk")
SMOOTH, DISK = "t01_smooth_or_features_a01_smooth", "t01_smooth_or_features_a02_features_or_disk"
COUNTS = st.lists(st.integers(0, 50), min_size=3, max_size=3)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> GalaxyPipeline:
    return GalaxyPipeline.from_pretrained(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny"))


@given(real=COUNTS, available=COUNTS, ratio=st.floats(0, 12))
def test_dreams_fill_up_the_rarest_first(real: list[int], available: list[int], ratio: float) -> None:
    found = need(real, ratio, available)
    assert sum(found) == min(round(ratio * sum(real)), sum(available))
    assert all(0 <= n <= most for n, most in zip(found, available, strict=True))
    for a in range(3):  # whoever has synthetic galaxies left is not behind somebody who was given some
        for b in range(3):
            if found[a] < available[a] and found[b]:
                assert real[a] + found[a] >= real[b] + found[b] - 1


def test_equal_classes_get_equally_many() -> None:
    assert need([10, 10, 10], 3, [99, 99, 99]) == (30, 30, 30)
    assert need([100, 10, 4], 1, [99, 99, 99]) == (0, 54, 60)


def test_prompts_and_surveys_take_turns(pipeline: GalaxyPipeline) -> None:
    prompts = {"smooth": ("smooth galaxy", "efigi, completely round galaxy"), "disk": ("edge-on galaxy",)}
    asked = prompted(pipeline, prompts, NAMES, ("sdss", "sdss-r90"), 4)
    assert [one.survey for one in asked] == ["sdss", "efigi", "sdss-r90", "efigi", *("sdss", "sdss-r90") * 2]
    assert asked[0].fractions[SMOOTH] == 1 and asked[4].fractions["t02_edgeon_a04_yes"] == 1
    assert {one.survey for one in prompted(pipeline, prompts, ("disk",), (), 2)} == {None}
    with pytest.raises(InputError, match="class 'disk': has no prompt"):
        prompted(pipeline, {"smooth": ("galaxy",), "disk": ("",)}, NAMES, (), 1)
    with pytest.raises(InputError, match=r"class 'smooth': prompt: .*flurble"):
        prompted(pipeline, {"smooth": ("flurble",)}, NAMES, (), 1)


def test_votes_of_every_galaxy_of_a_class_are_used_alike(toy: Path, tmp_path: Path, pipeline: GalaxyPipeline) -> None:
    pool = GalaxyPool([Dataset.open(toy)], "train", DataSettings(), tmp_path)
    column = pool.tree.columns.index(SMOOTH)
    labels = np.where(pool.fractions[:, column] >= 0.7, 0, np.where(pool.fractions[:, column] <= 0.3, 1, -1))
    asked = voted(pool, labels, NAMES, 60, 0, pipeline.denoiser.surveys)
    smooth, disk = asked[:60], asked[60:]
    assert (
        np.mean([one.fractions[SMOOTH] for one in smooth])
        > 0.7
        > 0.3
        > np.mean([one.fractions[SMOOTH] for one in disk])
    )
    assert len(set(smooth)) > 20  # many galaxies, told in many ways
    assert {one.survey for one in asked} == {None}  # the generator does not know the token `toy`
    assert {one.survey for one in voted(pool, labels, NAMES, 3, 0, ("toy",))} == {"toy"}
    with pytest.raises(InputError, match="class 'disk': no training galaxy"):
        voted(pool, np.zeros(len(pool), np.int64), NAMES, 3, 0, ())


def test_an_interrupted_pool_is_gone_on_with_and_a_finished_one_read(
    pipeline: GalaxyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galaxysd.generation.synthesize.PART", 1)
    settings = SynthesisSettings(per_class=20, steps=1)
    asked = [Morphology()] * 40
    whole = synthesize_pool(pipeline, asked, NAMES, tmp_path / "whole.npy", settings)
    assert whole.ids[:2] == ("generated:1000000", "generated:1000001") and whole.synthetic.all()
    assert whole.labels.tolist() == [0] * 20 + [1] * 20
    made = pipeline.dream

    def interrupted(*given: Any) -> Iterator[Any]:
        yield next(iter(made(*given)))
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(pipeline, "dream", interrupted)
        with pytest.raises(KeyboardInterrupt):
            synthesize_pool(pipeline, asked, NAMES, tmp_path / "cut.npy", settings)
    again = synthesize_pool(pipeline, asked, NAMES, tmp_path / "cut.npy", settings)
    assert np.array_equal(again.images, whole.images)
    monkeypatch.setattr(pipeline, "dream", lambda *_: pytest.fail("dreamed again"))
    assert np.array_equal(
        synthesize_pool(pipeline, asked, NAMES, tmp_path / "whole.npy", settings).images, whole.images
    )
    with pytest.raises(InputError, match=r"other galaxies \(seed differ"):
        synthesize_pool(pipeline, asked, NAMES, tmp_path / "whole.npy", settings.model_copy(update={"seed": 1}))


def test_a_table_of_prompts(tmp_path: Path) -> None:
    table = tmp_path / "prompts.csv"
    table.write_text("class,prompt\nsmooth,smooth galaxy\ndisk,edge-on galaxy\nsmooth, round galaxy\n")
    assert read_prompts(table, NAMES) == {"smooth": ("smooth galaxy", "round galaxy"), "disk": ("edge-on galaxy",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,words\nsmooth,galaxy\n", "no column 'prompt'"),
        ("class,prompt\nspiral,galaxy\n", "row 2: class 'spiral' is not one of smooth, disk"),
        ("class,prompt\nsmooth,galaxy\ndisk, \n", "row 3: the prompt of 'disk' is empty"),
        ("class,prompt\nsmooth,galaxy\n", "no prompt for class 'disk'"),
    ],
)
def test_a_bad_table_of_prompts_is_refused(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "prompts.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=message):
        read_prompts(table, NAMES)
