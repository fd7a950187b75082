"""Guidance: its formula, and which answer of a prompt it stresses."""

import torch

from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion.condition import Condition, answers_of, encode
from galaxysd.diffusion.guidance import GuidanceSettings, GuidedDenoiser, rarest_answer
from galaxysd.prompts import Vocabulary, parse

TREE = DecisionTree.load("gz2")
SURVEYS = ("sdss", "efigi")


class Additive:
    """A stand-in with a known answer: D is the sum of the known fractions."""

    answers_of = answers_of(TREE)

    def __init__(self) -> None:
        self.passes = 0

    def __call__(self, noisy: torch.Tensor, level: torch.Tensor, condition: Condition) -> torch.Tensor:
        self.passes += 1
        return torch.zeros_like(noisy) + condition.fractions.sum(dim=1)[:, None, None, None]


def guided(
    scale: float,
    weights: torch.Tensor,
    level: float = 0.9,
    rarest: float = 1.0,
) -> tuple[float, int]:
    fractions = torch.zeros(1, len(TREE.columns))
    fractions[0, TREE.columns.index("t03_bar_a06_bar")] = 1
    fractions[0, TREE.columns.index("t04_spiral_a08_spiral")] = 1
    known = torch.zeros(1, len(TREE.questions), dtype=torch.bool)
    known[0, 2] = known[0, 3] = True
    model = Additive()
    denoiser = GuidedDenoiser(
        model,
        Condition(fractions, known, torch.zeros(1).long()),
        weights,
        (torch.arange(len(TREE.questions))[None] == 2).float(),
        GuidanceSettings(scale=scale, from_level=0.2, to_level=0.95, rarest=rarest),
    )  # type: ignore[arg-type]
    value = denoiser(torch.zeros(1, 4, 2, 2), torch.tensor([level]))
    return float(value.mean()), model.passes


def test_guidance_follows_its_formula() -> None:
    # Two questions are known, so g = 1 + (scale - 1) / 2.
    plain = torch.ones(1, len(TREE.questions))
    assert guided(1.0, plain) == (2.0, 1)
    assert guided(4.0, plain) == (5.0, 1)  # with and without the prompt in one pass
    assert guided(2.5, plain, level=0.1) == (2.0, 1)  # below from_level: no guidance
    assert guided(2.5, plain, level=0.96) == (2.0, 1)  # above to_level: none either
    assert guided(3.0, plain, rarest=1.5) == (2 * 2 + 2 * 0.5 * 1, 2)
    stressed = plain.clone()
    stressed[0, 2] = 1.5
    assert guided(3.0, stressed) == (2 * 2 + 2 * 0.5 * 1, 2)
    assert guided(3.0, stressed, level=0.1) == (2 + 2 * 0.5 * 1, 2)  # a stressed phrase goes on below from_level
    assert guided(3.0, stressed, level=0.96) == (2.0, 1)


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
