"""What a ranked list costs: against its definition, against scikit-learn, and in the right direction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.metrics import ranking


def test_a_perfect_list_a_useless_one_and_one_that_is_upside_down() -> None:
    truth = np.arange(100) < 10
    perfect, upside_down = -np.arange(100.0), np.arange(100.0)
    useless = np.zeros(100)
    assert (
        ranking.average_precision(perfect, truth) == pytest.approx(1) and ranking.to_inspect(perfect, truth, 0.5) == 5
    )
    assert ranking.completeness_at_purity(perfect, truth, 1.0) == 1
    assert ranking.to_inspect(useless, truth, 0.8) == 80
    assert ranking.average_precision(useless, truth) == pytest.approx(0.1)
    assert ranking.completeness_at(useless, truth, 20) == pytest.approx(0.2)
    assert ranking.to_inspect(upside_down, truth, 0.5) == 95
    assert ranking.completeness_at_purity(upside_down, truth, 0.5) == 0
    assert ranking.completeness_at(perfect, truth, 500) == 1


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_what_is_to_inspect_finds_the_completeness_and_one_fewer_does_not(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random(40) < 0.3
    truth[3] = True
    scores = rng.integers(0, 6, 40).astype(float)
    n = ranking.to_inspect(scores, truth, share)
    assert ranking.completeness_at(scores, truth, n) >= share - 1e-6
    assert n == 0 or ranking.completeness_at(scores, truth, n - 1) < share
