"""The report's drawings show what they are given, the same bytes each time."""

import io

import numpy as np
from PIL import Image

from galaxysd.classifiers.metrics import measure
from galaxysd.classifiers.report import confusion_matrix, reliability_curves

NAMES = ("a", "b", "c")


def test_drawings_are_pictures_and_repeat() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)  # none of the third class
    probabilities = rng.dirichlet(np.ones(3), 60)
    scores = measure(labels, probabilities, NAMES, resamples=10)
    for png in (confusion_matrix(scores), reliability_curves(labels, probabilities, NAMES)):
        with Image.open(io.BytesIO(png)) as picture:
            assert picture.width > 300 and picture.height > 200
    assert confusion_matrix(scores) == confusion_matrix(scores)
    swapped = measure(1 - labels, probabilities, NAMES, resamples=10)
    assert confusion_matrix(swapped) != confusion_matrix(scores)
