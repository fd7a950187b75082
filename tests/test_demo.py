"""demo.py with a tiny model: every chapter is there, nothing is learned."""

from pathlib import Path

import pytest
from tiny_model import save_tiny_model

from galaxysd.catalog.tree import DecisionTree
from galaxysd.demo import CHANGES, EXTRAPOLATION, PROMPTS, SWEEPS, WALKS, Demo, run_demo
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.generation.manifest import read_manifest
from galaxysd.prompts import Vocabulary, parse


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny model")


@pytest.fixture(scope="module")
def made(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return run_demo(tmp_path_factory.mktemp("demos") / "demo", model=str(model), n=2)


def test_the_page_tells_the_whole_story(made: Demo) -> None:
    text = made.page.read_text(encoding="utf-8")
    assert made.galaxies == 32 and made.left_out == ()
    for title in ("What was asked", "Between two", "One seed", "More of it", "understood", "again", "How long"):
        assert title in text
    assert text.count("<img ") == 1 + len(WALKS) + 1 + len(SWEEPS)
    assert "One row is an extrapolation" in text
    assert "Contradiction: " in text


def test_its_commands_repeat_its_galaxies(made: Demo, model: Path) -> None:
    rows = read_manifest(made.page.parent / "galaxies")
    for index, prompt in enumerate(PROMPTS.values()):
        assert [row["seed"] for row in rows if row["prompt"] == prompt] == [2 * index, 2 * index + 1]
    # the model's name has a blank in it, so the command must quote it; the page escapes the quotes
    assert f"-n 2 --seed 30 --model &#39;{model}&#39; --out again-15" in made.page.read_text(encoding="utf-8")


def test_again_keeps_the_galaxies(made: Demo, model: Path) -> None:
    again = run_demo(made.page.parent, model=str(model), n=2)
    assert again.page == made.page and "kept from an earlier demo" in again.page.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="holds a run with other settings"):
        run_demo(made.page.parent, model=str(model), n=2, seed=1)


def test_a_folder_of_somebody_else_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is not an earlier demo"):
        run_demo(tmp_path, model=str(model), n=1)


def test_there_are_sixteen_prompts_that_every_word_of_is_known() -> None:
    vocabulary = Vocabulary.load(
        DecisionTree.load("gz2").union(DecisionTree.load("efigi")), ("sdss", "sdss-r90", "efigi")
    )
    texts = [
        *PROMPTS.values(),
        *CHANGES,
        *(end for ends in WALKS for end in ends),
        *(s.replace("<w>", "2") for s in SWEEPS),
    ]
    for text in texts:
        parse(text, vocabulary)
    assert len(PROMPTS) == 16 and len(set(PROMPTS.values())) == 16


def test_the_extrapolation_asks_for_smooth_and_dust() -> None:
    vocabulary = Vocabulary.load(DecisionTree.load("gz2").union(DecisionTree.load("efigi")), ("sdss", "efigi"))
    asked = parse(PROMPTS[EXTRAPOLATION], vocabulary).fractions
    assert asked["t01_smooth_or_features_a01_smooth"] == asked["t08_odd_feature_a38_dust_lane"] == 1


def test_prompts_a_model_does_not_know_are_left_out_and_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    understand = GalaxyPipeline.understand

    def no_mergers(self: GalaxyPipeline, prompt: str) -> object:
        if isinstance(prompt, str) and "merger" in prompt:
            raise InputError("unknown")
        return understand(self, prompt)

    monkeypatch.setattr(GalaxyPipeline, "understand", no_mergers)
    result = run_demo(tmp_path / "d", model=str(model), n=1)
    foreign = [title for title, prompt in PROMPTS.items() if "merger" in prompt]
    assert list(result.left_out) == foreign and 0 < len(foreign) == 16 - result.galaxies
    assert "spiral merger" in result.page.read_text(encoding="utf-8")
