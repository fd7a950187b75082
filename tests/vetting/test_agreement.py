"""Agreement: votes become a share with its interval, a verdict, and training answers."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from toy_search import SEARCH, candidates

from galaxysd.errors import InputError
from galaxysd.vetting.agreement import VerdictRule, agreement, answers, posterior
from galaxysd.vetting.store import VettingStore

Vote = Callable[..., None]


def test_the_posterior_is_the_beta_distribution() -> None:
    mean, low, high = posterior([0, 3, 40], [0, 1, 2])
    for index, (yes, no) in enumerate([(0, 0), (3, 1), (40, 2)]):
        beta = stats.beta(1 + yes, 1 + no)
        assert np.allclose([mean[index], low[index], high[index]], [beta.mean(), *beta.ppf([0.025, 0.975])])


@given(st.integers(0, 50), st.integers(0, 50))
def test_yes_and_no_are_mirror_images_and_more_yes_is_more(yes: int, no: int) -> None:
    mean, low, high = (float(end[0]) for end in posterior([yes], [no]))
    mirrored = [float(end[0]) for end in posterior([no], [yes])]
    assert np.allclose([mean, low, high], [1 - mirrored[0], 1 - mirrored[2], 1 - mirrored[1]])
    assert 0 <= low < mean < high <= 1
    assert posterior([yes + 1], [no])[0][0] > mean


def test_verdicts(store: VettingStore, vote: Vote) -> None:
    vote(store, "g0001", yes=2, no=1)
    vote(store, "g0002", no=1)
    vote(store, "g0003", yes=1, no=1)
    vote(store, "g0004", unsure=2)
    vote(store, "g0005", yes=1, unsure=1)
    frame = agreement(store, "lanes")
    assert frame["verdict"].to_list() == ["yes", "no", "unsure", "unsure", "yes"] + ["unvetted"] * 7
    assert frame["yes_share"].null_count() == 8  # nobody said yes or no of g0004 and seven others
    strict = agreement(store, "lanes", VerdictRule(votes=2, majority=0.7))
    assert strict["verdict"].to_list()[:5] == ["unsure"] * 5
    assert agreement(store, "lanes", VerdictRule(votes=3))["verdict"].to_list()[:2] == ["yes", "unsure"]


def test_answers_for_training_come_from_all_rounds(store: VettingStore, vote: Vote) -> None:
    vote(store, "g0001", yes=1)
    vote(store, "g0002", no=2)
    vote(store, "g0003", unsure=1)
    assert answers(store, ["lanes"]).rows() == [("g0001", "yes"), ("g0002", "no"), ("g0003", "unsure")]
    later = SEARCH.model_copy(update={"name": "lanes, round 2", "model_hash": "2"})
    store.add_candidates(later, candidates(12))
    store.cast_vote(later.name, "g0001", "ada", "no")  # round 1 said yes
    store.cast_vote(later.name, "g0002", "ada", "no")
    store.cast_vote(later.name, "g0009", "ada", "yes")
    assert dict(answers(store, ["lanes", later.name]).rows()) == {
        "g0001": "unsure",
        "g0002": "no",
        "g0003": "unsure",
        "g0009": "yes",
    }


def test_answers_of_different_targets_do_not_mix(store: VettingStore) -> None:
    with pytest.raises(InputError, match="nobody has answered"):
        answers(store, ["lanes"])
    other = SEARCH.model_copy(update={"name": "rings", "target": "ring galaxy"})
    store.add_candidates(other, candidates(2))
    with pytest.raises(InputError, match="not lanes, rings"):
        answers(store, ["lanes", "rings"])
    with pytest.raises(InputError, match="no search 'arcs'"):
        answers(store, ["arcs"])
