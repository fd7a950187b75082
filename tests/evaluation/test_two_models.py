"""Two models from the same noise: agreement is told from chance, and one model is not two."""

from pathlib import Path

import numpy as np
import pytest

from galaxysd.data.framing import resize
from galaxysd.errors import InputError
from galaxysd.evaluation.two_models import TwoModelSettings, TwoModelTest, compare_two_models

SETTINGS = TwoModelSettings(prompts=3, each=4)


def test_two_models_dream_the_same_requests_from_the_same_noise(places: dict[str, Path], tmp_path: Path) -> None:
    models = (places["model"], places["other"])
    found = compare_two_models([places["data"]], tmp_path / "two_models", models=models, settings=SETTINGS)
    assert found.agreement.n == 12 and found.agreement.negative_controls["other noise"] is not None
    shapes = [np.load(path).shape for path in (tmp_path / "two_models").glob("dreamed-*.npy")]
    assert sorted(shapes) == [(12, 16, 16, 3), (12, 32, 32, 3)]  # kept as generated, compared at one size
    again = compare_two_models([places["data"]], tmp_path / "two_models", models=models, settings=SETTINGS)
    assert again == found == TwoModelTest.read(tmp_path / "two_models" / "two_models.json")


def test_models_that_agree_stand_at_one(places: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "two_models"
    models = (places["model"], places["other"])
    compare_two_models([places["data"]], out, models=models, settings=SETTINGS)
    small, large = sorted(out.glob("dreamed-*.npy"), key=lambda path: np.load(path).shape)
    images = np.random.default_rng(0).integers(0, 256, np.load(small).shape).astype(np.uint8)
    np.save(small, images)
    enlarged = np.stack([resize(image, 32) for image in images])
    np.save(large, np.clip(enlarged.astype(int) + 3, 0, 255).astype(np.uint8))
    (out / "done.json").unlink()
    found = compare_two_models([places["data"]], out, models=models, settings=SETTINGS)
    chance = found.agreement.negative_controls["other noise"]
    assert found.agreement.value == 1 and chance is not None and chance < 0.7 and found.ratio < 0.1


def test_one_model_is_not_two(places: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is the same model as"):
        compare_two_models([places["data"]], tmp_path / "out", models=(places["model"],) * 2, settings=SETTINGS)
    assert not (tmp_path / "out").exists()
