"""Negative controls: what they are, and that each moves the metrics it is meant for, on drawn galaxies."""

import numpy as np
import pytest
import torch

from galaxysd.data.toy_survey import random_galaxy, render
from galaxysd.metrics import controls
from galaxysd.metrics.c2st import c2st
from galaxysd.metrics.frechet import frechet
from galaxysd.metrics.kid import kid
from galaxysd.metrics.memorization import alarm, authentic, duplicates, nearest
from galaxysd.metrics.prdc import prdc
from galaxysd.metrics.vendi import vendi_score
from galaxysd.types import Pixels


def galaxies(n: int, seed: int) -> Pixels:
    rng = np.random.default_rng(seed)
    return np.stack([render(random_galaxy(rng), rng, 32) for _ in range(n)])


@pytest.fixture(scope="module")
def train() -> Pixels:
    return galaxies(300, 0)


@pytest.fixture(scope="module")
def held_out() -> Pixels:
    return galaxies(300, 1)


def features(images: Pixels) -> np.ndarray:
    """Brightness, colour and grain of 2 x 2 fields [N, 20]."""
    fields = images.astype(np.float64).reshape(len(images), 2, 16, 2, 16, 3).transpose(0, 1, 3, 2, 4, 5)
    grain = np.abs(np.diff(fields, axis=3)).mean(axis=(3, 4, 5))
    means, deviation = fields.mean(axis=(3, 4)), fields.std(axis=(3, 4, 5))
    return np.log1p(np.concatenate([one.reshape(len(images), -1) for one in (means, deviation, grain)], axis=1))


def planes(images: Pixels) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def test_noise_has_the_same_mean_and_deviation() -> None:
    rng = np.random.default_rng(0)
    images = np.rint(rng.normal(120, 20, (600, 8, 8, 3))).clip(0, 255).astype(np.uint8)  # more than one block
    made = controls.noise(images, rng)
    assert made.shape == images.shape and made.dtype == np.uint8
    assert made.mean() == pytest.approx(images.mean(), abs=0.3) and made.std() == pytest.approx(images.std(), abs=0.3)
    whole = np.rint(np.random.default_rng(3).normal(images.mean(), images.std(), images.shape).clip(0, 255))
    assert np.array_equal(controls.noise(images, np.random.default_rng(3)), whole)


def test_blur_keeps_light_and_takes_grain(train: Pixels) -> None:
    made = controls.blurred(train)
    assert made.shape == train.shape and made.dtype == np.uint8
    assert made.mean() == pytest.approx(train.mean(), rel=0.02)
    assert np.abs(np.diff(made.astype(int), axis=1)).mean() < 0.5 * np.abs(np.diff(train.astype(int), axis=1)).mean()
    assert np.array_equal(controls.blurred(train[:1], 0), train[:1])


def test_one_galaxy_is_repeated(train: Pixels) -> None:
    made = controls.repeated(train, np.random.default_rng(0))
    assert made.shape == train.shape and (made == made[0]).all()
    assert (train == made[0]).all(axis=(1, 2, 3)).any()


def test_copies_are_found_and_hardly_changed(train: Pixels) -> None:
    made = controls.noisy_copies(train, 40, np.random.default_rng(0))
    found = nearest(planes(made), planes(train))
    assert made.shape == (40, 32, 32, 3) and len(set(found.index)) == 40 and len(set(found.orientation)) == 8
    assert found.distance.max() < 1.1 * controls.COPY_NOISE


def test_shuffled_labels_are_the_same_labels() -> None:
    labels = np.arange(40).reshape(20, 2)
    made = controls.shuffled(labels, np.random.default_rng(0))
    assert not np.array_equal(made, labels) and np.array_equal(made[made[:, 0].argsort()], labels)


def test_noise_is_not_realistic(train: Pixels, held_out: Pixels) -> None:
    real, fair = features(train), features(held_out)
    noise = features(controls.noise(held_out, np.random.default_rng(0)))
    assert prdc(fair, real).precision.low > 0.8 and prdc(noise, real).precision.high < 0.1
    assert frechet(fair, real, seed=0).high < frechet(noise, real, seed=0).low
    assert kid(fair, real, seed=0).high < kid(noise, real, seed=0).low
    real_baseline = c2st(fair, real, seed=0)
    assert real_baseline.low < 0.5 < real_baseline.high and c2st(noise, real, seed=0).value > 0.999


def test_blur_is_noticed(train: Pixels, held_out: Pixels) -> None:
    real, fair = features(train), features(held_out)
    little, much = (features(controls.blurred(held_out, sigma)) for sigma in (0.7, 2.0))
    for metric in (frechet, kid):
        steps = [metric(sample, real, seed=0) for sample in (fair, little, much)]
        assert steps[0].high < steps[1].low and steps[1].value < steps[2].value
    assert c2st(little, real, seed=0).low > 0.9


def test_collapse_is_not_diverse(train: Pixels, held_out: Pixels) -> None:
    real, fair = features(train), features(held_out)
    one = features(controls.repeated(held_out, np.random.default_rng(0)))
    before, after = prdc(fair, real), prdc(one, real)
    assert after.recall.high < 0.1 < before.recall.low and after.coverage.high < 0.1 < before.coverage.low
    assert vendi_score(one) == pytest.approx(1) and vendi_score(fair) > 1.01
    assert duplicates(one, real).flags.all() and duplicates(fair, real).flags.mean() < 0.2


def test_copies_are_remembered(train: Pixels, held_out: Pixels) -> None:
    copies = controls.noisy_copies(train, 100, np.random.default_rng(0))
    known = planes(train)
    real = nearest(planes(held_out), known).distance
    assert alarm(nearest(planes(copies), known).distance, real) == (1.0, True)
    assert not alarm(nearest(planes(galaxies(100, 2)), known).distance, real)[1]
    seen = authentic(features(train[:100] + (train[:100] < 255)), features(train)).mean()
    assert seen < 0.3 < authentic(features(held_out), features(train)).mean()
