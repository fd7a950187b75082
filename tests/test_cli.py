"""cli.py: what a person sees: results, one line for a mistake, exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_model import save_tiny_model

import galaxysd
from galaxysd.cli import main
from galaxysd.data.dataset import Dataset

BUILD = ["catalog", "build", "--votes", "v.csv", "--images", "i", "--survey", "s"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail as bad input; its one line."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    captured = capsys.readouterr()
    assert exit_.value.code == 2
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("galaxysd: ")
    return line


def result(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command with --json."""
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out.strip() == galaxysd.__version__


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    assert all(
        verb in text
        for verb in (
            "demo",
            "catalog",
            "prompt",
            "train",
            "generate",
            "embed",
            "evaluate",
            "classify",
            "augment",
            "discover",
            "vet",
            "publish",
            "toy",
        )
    )


def test_generate(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path) -> None:
    out = str(tmp_path / "o")
    arguments = ["generate", "sdss, bar", "", "-n", "2", "--model", model, "--seed", "5", "--out", out]
    arguments += ["--format", "fits", "--format", "png", "--steps", "2", "--sampler", "euler", "--guidance", "1"]
    report = result(capsys, *arguments)
    assert report["galaxies"] == 4 and report["prompts"] == 2 and not report["already_done"]
    assert Path(report["manifest"]).is_file() and Path(report["sheet"]).is_file()
    assert len(list(Path(out, "images").iterdir())) == 8
    main(arguments)
    assert "already done: 4 galaxies" in capsys.readouterr().out


def test_generate_from_a_table_with_a_limit(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path) -> None:
    table = tmp_path / "prompts.csv"
    table.write_text("prompt,n\nbar,2\nring,5\n", encoding="utf-8")
    out = str(tmp_path / "o")
    report = result(capsys, "generate", "--table", str(table), "--limit", "3", "--model", model, "--out", out)
    assert report["galaxies"] == 3


def test_prompt(capsys: pytest.CaptureFixture[str], model: str) -> None:
    explanation = result(capsys, "prompt", "sdss, smooth, 2 spiral arms, {dust lane:1.3}", "--model", model)
    assert explanation["survey"] and explanation["contradictions"]
    assert [item["weight"] for item in explanation["statements"] if item["phrase"] == "dust lane"] == [1.3]
    main(["prompt", "dusty", "--model", model])
    assert "dust lane" in capsys.readouterr().out


def test_demo(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path) -> None:
    report = result(capsys, "demo", "--model", model, "-n", "1", "--out", str(tmp_path / "d"))
    assert Path(report["page"]).is_file() and report["galaxies"] == 16


def test_toy_and_catalog_build(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    survey, out = tmp_path / "survey", tmp_path / "dataset"
    assert result(capsys, "toy", "-n", "60", "--size", "32", "--seed", "1", "--out", str(survey))["galaxies"] == 60
    build = ["catalog", "build", "--votes", str(survey / "votes.csv"), "--images", str(survey / "images")]
    build += ["--survey", "toy", "--size", "16", "--seed", "4"]
    report = result(capsys, *build, "--out", str(out))
    assert report["galaxies"] == 60 == sum(report["splits"].values()) and report["built"]
    dataset = Dataset.open(out)
    assert dataset.info.size == 16 and dataset.survey == "toy" and dataset.info.split_seed == 4
    assert not result(capsys, *build, "--out", str(out))["built"]
    condition = "t01_smooth_or_features_a01_smooth > 0.5"
    fewer = result(capsys, *build, "--withhold", condition, "--out", str(tmp_path / "fewer"))["galaxies"]
    smooth = int((dataset.catalog.frame["t01_smooth_or_features_a01_smooth"] > 0.5).sum())
    assert smooth > 0 and fewer == 60 - smooth
    spirals = result(capsys, *build, "--well-sampled", "t04_spiral", "--out", str(tmp_path / "sampled"))["galaxies"]
    assert 0 < spirals < 60


def test_build_balances(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    survey, mix = tmp_path / "survey", tmp_path / "mix.yaml"
    main(["toy", "-n", "60", "--size", "32", "--out", str(survey)])
    capsys.readouterr()
    build = ["catalog", "build", "--votes", str(survey / "votes.csv"), "--images", str(survey / "images")]
    build += ["--survey", "toy", "--size", "16", "--balance", str(mix), "--out", str(tmp_path / "dataset")]
    assert "mix.yaml: expected a YAML file" in fails(capsys, *build)
    mix.write_text("spiral: many\n", encoding="utf-8")
    assert "mix.yaml: expected a YAML file" in fails(capsys, *build)
    mix.write_text("edge_on: 1.0\n", encoding="utf-8")
    assert 0 < result(capsys, *build)["galaxies"] < 60


def test_train_dry_run_resolves_the_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text("name: small\nfit: {batch: 8}\n", encoding="utf-8")
    arguments = ["train", "--recipe", str(recipe), "--data", "d", "--out", str(tmp_path / "r"), "--dry-run"]
    values = result(capsys, *arguments, "--seed", "9", "--set", "fit.clip=0.5")
    assert values["fit"]["seed"] == 9 and values["fit"]["batch"] == 8 and values["fit"]["clip"] == 0.5
    assert not (tmp_path / "r").exists()
    assert "'fit.clap=1'" in fails(capsys, *arguments, "--set", "fit.clap=1")


def test_train_knows_encoders(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["train", "--recipe", "encoder", "--data", "d", "--out", str(tmp_path / "r")]
    assert result(capsys, *arguments, "--dry-run", "--set", "simclr.temperature=0.3")["simclr"]["temperature"] == 0.3
    assert "--from means nothing to recipe 'encoder'" in fails(capsys, *arguments, "--from", "mini")
    arguments[2] = "mini"
    assert "--features means nothing to recipe 'mini'" in fails(capsys, *arguments, "--features", "nowhere")
    arguments[2] = "mini-autoencoder"
    assert "is not a folder and cannot be had" in fails(capsys, *arguments, "--features", str(tmp_path / "nowhere"))


def test_embed(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path) -> None:
    main(["generate", "bar", "-n", "3", "--model", model, "--steps", "1", "--out", str(tmp_path / "o")])
    capsys.readouterr()
    arguments = ["embed", "--images", str(tmp_path / "o" / "images"), "--encoder", "pixels", "--out"]
    report = result(capsys, *arguments, str(tmp_path / "f"))
    assert report["galaxies"] == 3 and Path(report["file"]).is_file() and not report["already_done"]
    main([*arguments, str(tmp_path / "f")])
    assert "already done" in capsys.readouterr().out


def test_evaluate_needs_real_galaxies(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path) -> None:
    arguments = ["evaluate", "--model", model, "--encoder", "pixels", "--out", str(tmp_path / "r")]
    assert "--data" in fails(capsys, *arguments)
    assert "nowhere" in fails(capsys, *arguments, "--data", "nowhere")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generat", "bar"], 'Did you mean "generate"'),
        (["generate", "bar", "--oout", "x"], "Unknown option"),
        (["generate", "bar"], "--out"),
        (["generate", "--out", "{out}"], "give either prompts or --table"),
        (["generate", "bar", "--table", "x.csv", "--out", "{out}"], "give either prompts or --table"),
        (["generate", "bar", "-n", "many", "--out", "{out}"], "-n"),
        (["generate", "bar", "-n", "0", "--out", "{out}"], "n must lie between 1 and 10,000,000, not 0"),
        (["generate", "bar", "--limit", "0", "--out", "{out}"], "limit must be at least 1"),
        (["generate", "bar", "--model", "nope", "--out", "{out}"], "model 'nope': neither a shipped model (mini)"),
        (["generate", "bar", "--format", "gif", "--out", "{out}"], '"gif"'),
        (["generate", "--table", "{out}/none.csv", "--out", "{out}"], "none.csv: no such file"),
        (["generate", "spyral", "--out", "{out}", "--model", "{model}"], "unknown word 'spyral'"),
        (["generate", "bar", "--sampler", "ddpm", "--out", "{out}", "--model", "{model}"], "sampler"),
        (["generate", "bar", "--seed", "-1", "--out", "{out}", "--model", "{model}"], "seed"),
        (["generate", "bar", "--device", "abacus", "--out", "{out}", "--model", "{model}"], "device 'abacus'"),
        (["prompt", "{{bar", "--model", "{model}"], "'{' is never closed"),
        (["demo", "--n", "0", "--model", "{model}", "--out", "{out}"], "n must lie between 1"),
        (["toy", "-n", "0", "--out", "{out}"], "0"),
        (["train", "--data", "nowhere", "--recipe", "nope", "--out", "{out}"], "recipe 'nope'"),
        ([*BUILD, "--tree", "oak", "--out", "{out}"], "tree 'oak'"),
        ([*BUILD, "--size", "0", "--out", "{out}"], "size"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path, arguments: list[str], message: str
) -> None:
    out = tmp_path / "o"
    assert message in fails(capsys, *(part.format(out=out, model=model) for part in arguments))
    assert not out.exists()


def test_a_table_without_prompts(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("words\nbar\n", encoding="utf-8")
    line = fails(capsys, "generate", "--table", str(table), "--out", str(tmp_path / "o"), "--model", model)
    assert f"{table}: no column 'prompt'; it has 'words'" in line


def test_a_folder_with_other_content(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    assert "choose another folder" in fails(capsys, "generate", "bar", "--out", str(tmp_path), "--model", model)


def test_interruption_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str, tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("galaxysd.diffusion.pipeline.GalaxyPipeline.dream", interrupted)
    with pytest.raises(SystemExit) as exit_:
        main(["generate", "bar", "--model", model, "--out", str(tmp_path / "o")])
    assert exit_.value.code == 130
    assert capsys.readouterr().err == "galaxysd: interrupted; the same command goes on from here\n"
