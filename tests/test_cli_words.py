"""`galaxysd words`, and the remarks that `prompt` and `generate` print."""

import json
from pathlib import Path

import pytest
from tiny_model import save_tiny_model

from galaxysd.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


def test_words_as_json(capsys: pytest.CaptureFixture[str], model: str) -> None:
    main(["words", "--model", model, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert set(found["surveys"]) == {"sdss", "sdss-r90", "efigi"}
    answers = {answer["phrase"]: answer for question in found["questions"] for answer in question["answers"]}
    assert answers["smooth"]["seen"] == 500 and not answers["smooth"]["thin"]
    assert answers["merger"]["seen"] == 0 and answers["merger"]["thin"]
    assert any("grand design" in compound["wordings"] for compound in found["compounds"])


def test_words_for_a_person(capsys: pytest.CaptureFixture[str], model: str) -> None:
    main(["words", "--model", model])
    page = capsys.readouterr().out
    assert "How many spiral arms are there?" in page
    assert "never seen" in page and "500" in page


def test_words_of_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["words", "--model", "nope"])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("galaxysd: model 'nope': neither a shipped model (mini)")


def test_words_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert "words" in capsys.readouterr().out


def test_prompt_prints_the_remarks(capsys: pytest.CaptureFixture[str], model: str) -> None:
    main(["prompt", "smooth, 2 arms", "--model", model])
    page = capsys.readouterr().out
    assert "frame not named: any of sdss, sdss-r90, efigi" in page
    assert "contradiction: '2 spiral arms'" in page
    assert "training: '2 spiral arms' was never seen" in page


def test_generate_prints_the_remarks_once_per_prompt(
    capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path
) -> None:
    prompts = ["smooth, 2 arms", "sdss, smooth", "smooth, 2 arms"]
    arguments = [*prompts, "--model", model, "--steps", "2", "--out", str(tmp_path / "o")]
    main(["generate", *arguments, "--json"])
    captured = capsys.readouterr()
    assert json.loads(captured.out)["galaxies"] == 3
    remarks = captured.err.splitlines()
    assert remarks[0] == "smooth, 2 arms"
    assert remarks[1] == "  frame not named: any of sdss, sdss-r90, efigi"
    assert sum("contradiction: '2 spiral arms'" in line for line in remarks) == 1
    assert "sdss, smooth" not in remarks, "nothing is said of a prompt with nothing to say"


def test_generate_says_nothing_of_the_hundredth_prompt(
    capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path
) -> None:
    table = tmp_path / "prompts.csv"
    table.write_text("prompt\n" + "\n".join(f'"bar, {{ring:{1 + n / 100}}}"' for n in range(1, 31)), encoding="utf-8")
    main(["generate", "--table", str(table), "--model", model, "--steps", "1", "--out", str(tmp_path / "o")])
    remarks = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("bar, {ring:") for line in remarks) == 24
    assert remarks[-1] == '6 more prompts: see `galaxysd prompt "..."`'
