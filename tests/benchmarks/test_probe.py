"""The linear probe: it reads what is there, does not read what is not, and chooses on validation galaxies."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

from galaxysd.encoders.registry import PixelEncoder
from galaxysd.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package

import probe


def blobs(n: int, apart: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of four kinds, of very different scale per dimension; three quarters are of the first kind."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.zeros(3 * n, np.int64), np.repeat([1, 2, 3], n // 3)])
    features = rng.normal(size=(len(labels), 5))
    features[:, :4] += apart * np.eye(4)[labels]
    return features * np.array([1e-3, 1, 1e3, 1, 10]), labels


def accuracy(apart: float) -> float:
    train, val, test = (blobs(120, apart, seed) for seed in (0, 1, 2))
    found = probe.fit_probe(train, val, test[0], seed=0)
    return float(np.mean([(found.read == test[1])[test[1] == kind].mean() for kind in range(4)]))


def test_more_telling_features_are_read_better() -> None:
    scores = [accuracy(apart) for apart in (0, 2, 8)]
    assert scores[0] < 0.4 and scores[0] < scores[1] < scores[2] and scores[2] > 0.99


def test_the_penalty_is_chosen_on_validation_galaxies() -> None:
    train, val = blobs(120, 3.0, 0), blobs(120, 3.0, 1)
    swapped = (val[0], (val[1] + 1) % 4)
    good, misled = probe.fit_probe(train, val, val[0], seed=0), probe.fit_probe(train, swapped, val[0], seed=0)
    assert good.validation > 0.8 > 0.4 > misled.validation
    assert good.strength in probe.STRENGTHS


def test_an_encoder_is_measured() -> None:
    rng = np.random.default_rng(0)

    def galaxies(n: int) -> probe.Examples:
        labels = np.tile(np.arange(4), n)
        images = rng.integers(0, 40, (len(labels), 16, 16, 3)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4 * label : 4 * label + 4] += 150
        return probe.Examples(images, labels)

    found = probe.measure(PixelEncoder(), galaxies(10), galaxies(4), galaxies(6), seed=0)
    assert found["accuracy"]["macro"]["accuracy"] == 1.0 and found["accuracy"]["macro"]["n"] == 24
    assert found["galaxies_per_second"] > 100 and found["hash"] == PixelEncoder.hash
    result = {"encoders": {"pixels": found}, "n": {"train": [10] * 4, "val": [4] * 4}, "seed": 0}
    probe.show(result)


def test_an_unknown_encoder_stops_it_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "open_datasets", lambda folders, survey: [])
    options = argparse.Namespace(
        out=tmp_path, data=[], survey="sdss", device="cpu", encoder=["no-such-encoder"], orientations=1
    )
    with pytest.raises(InputError, match="no-such-encoder"):
        probe.evaluate(options)
