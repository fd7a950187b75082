"""Conditions, how training words them, and their masking."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.transforms import dihedral
from galaxysd.diffusion.condition import Condition, answers_of, as_told, encode, random_mask
from galaxysd.errors import InputError
from galaxysd.prompts import Morphology, Vocabulary, parse

TREE = DecisionTree.load("gz2")
SURVEYS = ("sdss", "efigi")


def full_condition(batch: int) -> Condition:
    return Condition(
        torch.rand(batch, len(TREE.columns)),
        torch.ones(batch, len(TREE.questions), dtype=torch.bool),
        torch.zeros(batch).long(),
    )


def test_encode_keeps_order_and_unknown_survey() -> None:
    vocabulary = Vocabulary.load(TREE, SURVEYS)
    condition = encode([parse("efigi, bar", vocabulary), parse("", vocabulary)], TREE, SURVEYS)
    assert condition.survey.tolist() == [1, 2]
    column = TREE.columns.index("t03_bar_a06_bar")
    assert condition.fractions[0, column] == 1 and condition.fractions[0].sum() == 1
    assert condition.known.sum(dim=1).tolist() == [1, 0]


def test_encode_refuses_a_survey_the_model_does_not_know() -> None:
    with pytest.raises(InputError, match="'hubble' is not known to this model; it knows: sdss, efigi"):
        encode([Morphology(survey="hubble")], TREE, SURVEYS)


@given(seed=st.integers(0, 10_000))
def test_masked_questions_carry_no_trace(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    answers = answers_of(TREE)
    masked = random_mask(
        full_condition(16), answers, generator, drop_all=0.2, keep_all=0.2, drop_survey=0.5, unknown_survey=2
    )
    hidden = ~masked.known[:, answers]
    assert float(masked.fractions[hidden].abs().sum()) == 0
    assert set(masked.survey.tolist()) <= {0, 2}


def told(rounded: float, seed: int = 0, batch: int = 64) -> tuple[Condition, Condition]:
    """A condition of random fractions, some questions unknown, and how training tells it."""
    generator = torch.Generator().manual_seed(seed)
    answers = answers_of(TREE)
    known = torch.rand((batch, len(TREE.questions)), generator=generator) < 0.7
    fractions = torch.rand((batch, len(TREE.columns)), generator=generator) * known[:, answers]
    condition = Condition(fractions, known, torch.zeros(batch).long())
    return condition, as_told(condition, answers, generator, rounded=rounded, votes=20)


@given(seed=st.integers(0, 1000))
def test_in_words_it_is_what_a_rounded_morphology_says(seed: int) -> None:
    condition, words = told(rounded=1.0, seed=seed, batch=4)
    first = answers_of(TREE)
    for row in range(4):
        asked = {
            name: float(condition.fractions[row, index])
            for index, name in enumerate(TREE.columns)
            if bool(condition.known[row, first[index]])
        }
        fractions, known = Morphology(fractions=asked).rounded(TREE).vector(TREE)
        assert torch.equal(words.fractions[row], torch.from_numpy(fractions))
        assert torch.equal(words.known[row], torch.from_numpy(known))


def test_in_words_equal_answers_give_the_first_and_no_answer_gives_nothing() -> None:
    fractions = torch.zeros(2, len(TREE.columns))
    fractions[0, :2] = 0.5
    known = torch.zeros(2, len(TREE.questions), dtype=torch.bool)
    known[:, 0] = True
    condition = Condition(fractions, known, torch.zeros(2).long())
    words = as_told(condition, answers_of(TREE), torch.Generator().manual_seed(0), rounded=1.0, votes=20)
    assert words.fractions[0, :3].tolist() == [1, 0, 0] and bool(words.known[0, 0])
    assert not bool(words.known[1, 0]) and float(words.fractions[1].sum()) == 0


def test_votes_are_cast_anew_around_what_they_were() -> None:
    condition, recast = told(rounded=0.0, batch=4000)
    moved = (recast.fractions - condition.fractions)[condition.fractions > 0]
    assert torch.equal(recast.known, condition.known)
    assert float(recast.fractions[condition.fractions == 0].abs().sum()) == 0
    # the mean of p (1 - p) / 20 over uniform p is 1 / 120
    assert float(moved.std()) == pytest.approx((1 / 120) ** 0.5, rel=0.05)
    assert float(moved.mean()) == pytest.approx(0, abs=0.003)


def test_a_share_is_told_in_words() -> None:
    _, mixed = told(rounded=0.5, batch=4000)
    plain = (mixed.fractions * (1 - mixed.fractions)).sum(dim=1) == 0
    assert float(plain.float().mean()) == pytest.approx(0.5, abs=0.03)


def test_masking_happens_as_often_as_asked() -> None:
    masked = random_mask(
        full_condition(20_000),
        answers_of(TREE),
        torch.Generator().manual_seed(0),
        drop_all=0.1,
        keep_all=0.3,
        drop_survey=0.1,
        unknown_survey=2,
    )
    known = masked.known.sum(dim=1)
    # Besides the shares asked for, a keep probability near 0 or 1 also hides or keeps all: 1/12 of the remaining 0.6.
    assert float((known == 0).float().mean()) == pytest.approx(0.1 + 0.6 / 12, abs=0.01)
    assert float((known == len(TREE.questions)).float().mean()) == pytest.approx(0.3 + 0.6 / 12, abs=0.01)
    assert float((masked.survey == 2).float().mean()) == pytest.approx(0.1, abs=0.01)


def test_dihedral_gives_the_eight_orientations() -> None:
    image = torch.arange(3 * 4 * 4).view(1, 3, 4, 4)
    turned = dihedral(image.repeat(8, 1, 1, 1), torch.arange(8))
    assert torch.equal(turned[0], image[0])
    assert len({tuple(one.flatten().tolist()) for one in turned}) == 8
    assert all(torch.equal(one.sort().values, image.flatten().sort().values) for one in turned.flatten(1))
