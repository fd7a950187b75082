"""The whole experiment on a toy survey: planned, interrupted, gone on with, told; and on labels of one's own."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_model import save_tiny_model

from galaxysd.augmentation import experiment as module
from galaxysd.augmentation import experiment_data as real_split
from galaxysd.augmentation import synthesis
from galaxysd.augmentation.experiment import AugmentSettings, Plan, augment
from galaxysd.augmentation.report import AugmentReport, summary, write_report
from galaxysd.augmentation.synthesis import SynthesisSettings
from galaxysd.classifiers.class_rules import ClassRule, ClassRules
from galaxysd.classifiers.predict import Ensemble
from galaxysd.classifiers.train import ClassifierSettings, GalaxyClassifier
from galaxysd.encoders.registry import load_encoder
from galaxysd.errors import InputError
from galaxysd.runs import Run

SMOOTH, EDGE_ON = "t01_smooth_or_features_a01_smooth", "t02_edgeon_a04_yes"
RULES = ClassRules(
    name="toy",
    classes=(
        ClassRule(name="smooth", where=f"{SMOOTH} > 0.6", prompt="smooth galaxy"),
        ClassRule(name="edge-on", where=f"{SMOOTH} < 0.4 AND {EDGE_ON} > 0.6", prompt="edge-on galaxy"),
        ClassRule(name="disk", where=f"{SMOOTH} < 0.4 AND {EDGE_ON} < 0.4", prompt="disk not edge-on"),
    ),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def settings(tiny: ClassifierSettings) -> AugmentSettings:
    return AugmentSettings(
        shots=(6,),
        seeds=2,
        ratios=(2,),
        gammas=(1,),
        synthetic=SynthesisSettings(per_class=16, steps=1),
        classifier=tiny.model_copy(update={"images": 64}),
    )


def go(toy: Path, out: Path, model: Path, settings: AugmentSettings, **options: object) -> Plan:
    return augment([toy], out, model=model, rules=RULES, settings=settings, encoder=load_encoder("pixels"), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(
    toy: Path, model: Path, settings: AugmentSettings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Plan]:
    out = tmp_path_factory.mktemp("augment") / "out"
    return out, go(toy, out, model, settings)


def rows(out: Path) -> dict[str, dict[str, object]]:
    """Finished runs without what depends on the clock."""
    lines = [line for line in Run(out).metrics() if "run" in line]
    return {str(line["run"]): {key: line[key] for key in line if key not in ("seconds", "time")} for line in lines}


def test_every_run_of_the_plan_is_made_and_leaves_its_predictions(made: tuple[Path, Plan]) -> None:
    out, plan = made
    assert len(rows(out)) == len(plan.runs) == 2 * 10
    for name in rows(out):
        found = np.load(out / "predictions" / f"{name}.npy")
        assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert plan.left_out == ("class weights at 6",)
    assert not list((out / "training").iterdir()) and not (out / "models").exists()


def test_the_report_tells_numbers_pictures_and_words(made: tuple[Path, Plan]) -> None:
    out, _ = made
    report = write_report(out)
    assert AugmentReport.parse(json.loads((out / "report.json").read_text()), "report.json") == report
    level = report.levels[0]
    assert (level.shots, level.seeds, level.real) == (6, 2, (6, 6, 6))
    baseline = [row["F1"] for row in rows(out).values() if row["arm"] == "baseline"]
    assert level.arms["baseline"].macro["F1"].value == pytest.approx(np.mean(baseline), abs=1e-4)
    assert sum(level.arms["dreams x2"].synthetic) <= 36 and "dreams x2" in level.gains
    assert set(level.gains["dreams only"]) == {"baseline", "strong augmentation", "focal loss", "probe"}
    assert report.memory["synthetic"]["synthetic"] == 48 and report.classes == RULES.names
    text = (out / "report.html").read_text()
    assert text.count("data:image/png") == 4 and "F1 of each class" in text and "refused as doubted" in text
    assert "real galaxies per class" in summary(report) and str(report.delivered) in summary(report)


def test_the_delivered_classifiers_are_those_the_held_out_galaxies_like(made: tuple[Path, Plan]) -> None:
    out, _ = made
    ensemble = Ensemble([GalaxyClassifier.load(folder) for folder in sorted((out / "classifier").iterdir())])
    assert ensemble.classes == RULES.names and len(ensemble.members) == 2
    losses: dict[str, list[float]] = {}
    for row in rows(out).values():
        if "strength" not in row:
            losses.setdefault(str(row["arm"]), []).append(row["held_out_loss"])  # type: ignore[arg-type]
    assert write_report(out).delivered == min(losses, key=lambda arm: np.mean(losses[arm]))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])  # a process has to load torch first
def test_what_is_missing_is_made_again_alike(
    made: tuple[Path, Plan],
    toy: Path,
    model: Path,
    settings: AugmentSettings,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    out, _ = made
    before = rows(out)
    lines = (out / "metrics.jsonl").read_text().splitlines()
    lost = [line for line in lines if '"dreams-x2-6-1"' in line]
    (out / "metrics.jsonl").write_text("\n".join(line for line in lines if line not in lost) + "\n")
    (out / "done.json").unlink()
    monkeypatch.setattr(module, "synthesize_pool", lambda *_: pytest.fail("dreamed again"))
    go(toy, out, model, settings, workers=workers)
    assert rows(out) == before and len(lost) == 1
    monkeypatch.setattr(module, "_run_all", lambda *_: pytest.fail("a finished experiment was made again"))
    go(toy, out, model, settings)
    with pytest.raises(InputError, match=r"other settings \(seeds\)"):
        go(toy, out, model, settings.model_copy(update={"seeds": 3}))


def test_a_plan_alone_writes_nothing(toy: Path, tmp_path: Path, model: Path, settings: AugmentSettings) -> None:
    plan = go(toy, tmp_path / "out", model, settings, plan_only=True)
    assert plan.seconds > 0 and plan.networks == 2 * 8 and not (tmp_path / "out").exists()


def own_labels(toy: Path, table: Path) -> Path:
    """Files and classes of the toy survey's galaxies, as a user would write them."""
    truth = pl.read_parquet(toy.parent / "survey" / "truth.parquet").with_row_index("n")
    kind = pl.when(pl.col("kind") == "spiral").then(pl.lit("disk")).otherwise(pl.col("kind").str.replace("_", "-"))
    truth.select(file=pl.format("toy-{}.png", pl.col("n").cast(pl.String).str.zfill(6)), **{"class": kind}).write_csv(
        table
    )
    return table


def test_own_labels_test_with_galaxies_that_the_generator_has_not_seen(
    toy: Path, tmp_path: Path, model: Path, settings: AugmentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = own_labels(toy, tmp_path / "labels.csv")
    images = toy.parent / "survey" / "images"
    found = []
    monkeypatch.setattr(module, "_run_all", lambda *_: None)
    monkeypatch.setattr(module, "_deliver", lambda *_: None)
    keep = module.write_experiment_data
    monkeypatch.setattr(module, "write_experiment_data", lambda *given: (found.append(given), keep(*given)))
    go(toy, tmp_path / "out", model, settings, labels=table, images=images)
    _, classes, train, test, *_ = found[0]
    catalog = pl.read_parquet(toy / "catalog.parquet")
    splits = {f"own:{file.removesuffix('.png')}": split for file, split in catalog.select("file", "split").iter_rows()}
    assert {splits[name] for name in test.ids} <= {"val", "test"} and len(test) > 20
    assert not set(train.ids) & set(test.ids) and classes == RULES.names
    asked = []
    monkeypatch.setattr(module, "prompted", lambda *given: asked.append(given[1]) or synthesis.prompted(*given))
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("class,prompt\nsmooth,round galaxy\nedge-on,edge-on galaxy\ndisk,spiral galaxy\n")
    go(toy, tmp_path / "prompted", model, settings, labels=table, images=images, prompts=prompts)
    assert asked == [{"smooth": ("round galaxy",), "edge-on": ("edge-on galaxy",), "disk": ("spiral galaxy",)}]
    with pytest.raises(InputError, match="belong together"):
        go(toy, tmp_path / "other", model, settings, labels=table)


def test_a_test_galaxy_in_the_training_split_is_refused_by_name(
    toy: Path, tmp_path: Path, model: Path, settings: AugmentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = own_labels(toy, tmp_path / "labels.csv")
    images = tmp_path / "images"
    images.mkdir()
    for file in (toy.parent / "survey" / "images").iterdir():
        (images / file.name).write_bytes(file.read_bytes())
        (images / f"again-{file.name}").write_bytes(file.read_bytes())
    monkeypatch.setattr(real_split, "TEST_SHARE", 0.05)  # so that galaxies which nobody has seen are left to train
    frame = pl.read_csv(table)
    pl.concat([frame, frame.with_columns(pl.format("again-{}", "file").alias("file"))]).write_csv(table)
    with pytest.raises(InputError, match=r"left to train the classifier: own:.* \(same pixels\)"):
        go(toy, tmp_path / "out", model, settings, labels=table, images=images)


def test_a_folder_without_an_experiment_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not an experiment"):
        write_report(tmp_path)
