"""Conditions, their masking, and guidance."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion.condition import Condition, answers_of, as_told, encode, random_mask
from galaxysd.diffusion.data import dihedral
from galaxysd.diffusion.guidance import GuidanceSettings, GuidedDenoiser, rarest_answer
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


class Additive:
    """A stand-in with a known answer: D = `strength` times the sum of the known fractions."""

    answers_of = answers_of(TREE)

    def __init__(self, strength: float = 1.0) -> None:
        self.passes, self.strength = 0, strength

    def __call__(self, noisy: torch.Tensor, level: torch.Tensor, condition: Condition) -> torch.Tensor:
        self.passes += 1
        return torch.zeros_like(noisy) + self.strength * condition.fractions.sum(dim=1)[:, None, None, None]


def guided(
    scale: float,
    weights: torch.Tensor,
    level: float = 0.9,
    rarest: float = 1.0,
    guide: Additive | None = None,
    autoguidance: float = 0.0,
) -> tuple[float, int]:
    fractions = torch.zeros(1, len(TREE.columns))
    fractions[0, TREE.columns.index("t03_bar_a06_bar")] = 1
    fractions[0, TREE.columns.index("t04_spiral_a08_spiral")] = 1
    known = torch.zeros(1, len(TREE.questions), dtype=torch.bool)
    known[0, 2] = known[0, 3] = True
    model = Additive()
    denoiser = GuidedDenoiser(
        model,
        guide,
        Condition(fractions, known, torch.zeros(1).long()),
        weights,
        (torch.arange(len(TREE.questions))[None] == 2).float(),
        GuidanceSettings(scale=scale, from_level=0.2, to_level=0.95, rarest=rarest, autoguidance=autoguidance),
    )  # type: ignore[arg-type]
    value = denoiser(torch.zeros(1, 3, 2, 2), torch.tensor([level]))
    return float(value.mean()), model.passes


def test_guidance_follows_its_formula() -> None:
    plain = torch.ones(1, len(TREE.questions))
    assert guided(1.0, plain) == (2.0, 1)
    assert guided(2.5, plain) == (5.0, 2)
    assert guided(2.5, plain, level=0.1) == (2.0, 1)  # below from_level: no guidance
    assert guided(2.5, plain, level=0.96) == (2.0, 1)  # above to_level: none either
    assert guided(2.0, plain, rarest=1.5) == (2 * 2 + 2 * 0.5 * 1, 3)
    stressed = plain.clone()
    stressed[0, 2] = 1.5
    assert guided(2.0, stressed) == (2 * 2 + 2 * 0.5 * 1, 3)
    assert guided(2.0, stressed, level=0.1) == (2 + 2 * 0.5 * 1, 2)  # a stressed phrase goes on below from_level
    assert guided(2.0, stressed, level=0.96) == (2.0, 1)


def test_autoguidance_leads_away_from_the_weaker_model() -> None:
    plain, guide = torch.ones(1, len(TREE.questions)), Additive(strength=0.25)
    assert guided(1.0, plain, guide=guide, autoguidance=2.0) == (2 + 2 * (2 - 0.5), 1)
    assert guided(2.5, plain, guide=guide, autoguidance=2.0) == (5 + 2 * (2 - 0.5), 2)
    assert guided(1.0, plain, guide=guide, autoguidance=2.0, level=0.1) == (2.0, 1)  # below from_level
    assert guide.passes == 2
    assert guided(1.0, plain, autoguidance=2.0) == (2.0, 1)  # a model without a guide


def test_a_larger_weight_pulls_harder() -> None:
    values = []
    for weight in (0.5, 0.8, 1.2, 2.0):
        weights = torch.ones(1, len(TREE.questions))
        weights[0, 3] = weight
        values.append(guided(1.5, weights)[0])
    assert values == sorted(values) and len(set(values)) == 4


def test_the_rarest_answer_is_what_sets_a_prompt_apart() -> None:
    vocabulary = Vocabulary.load(TREE, SURVEYS)
    prompts = ("sdss, spiral galaxy, bar", "sdss, spiral galaxy, no bar", "sdss, bar", "")
    condition = encode([parse(text, vocabulary) for text in prompts], TREE, SURVEYS)
    evidence = torch.full((len(TREE.columns),), 1000)
    evidence[TREE.columns.index("t03_bar_a06_bar")] = 10
    evidence[TREE.columns.index("t04_spiral_a08_spiral")] = 500
    found = rarest_answer(condition, answers_of(TREE), evidence)
    keys = [[TREE.questions[index].key for index in row.nonzero().flatten()] for row in found]
    assert keys == [["t03_bar"], ["t04_spiral"], [], []]


def test_a_rare_answer_counts_as_far_as_it_is_clear() -> None:
    fractions = torch.zeros(3, len(TREE.columns))
    bar, spiral = TREE.columns.index("t03_bar_a06_bar"), TREE.columns.index("t04_spiral_a08_spiral")
    fractions[:, spiral] = 1
    fractions[:, bar] = torch.tensor([0.5, 0.75, 1.0])
    known = torch.zeros(3, len(TREE.questions), dtype=torch.bool)
    known[:, 2:4] = True
    evidence = torch.arange(len(TREE.columns))  # bars come before arms
    found = rarest_answer(Condition(fractions, known, torch.zeros(3).long()), answers_of(TREE), evidence)
    assert found[:, 2].tolist() == [0, 0.5, 1] and found[0, 3] == 1 and found[1:, 3].tolist() == [0, 0]
