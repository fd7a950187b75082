"""Judge a generator: every axis with its real baseline, its negative controls and an interval, in one report.

In: a model, or images of any generator (external_images.py); real datasets; an encoder. Out: REPORT/report.json. The
same command again takes up what is done; a finished report is not made twice. What is measured of real galaxies is kept
in a cache beside the report, for the reports to come (cache.py).

    realism       Fréchet and kernel distance, precision, density, two-sample test      features
    appearance    power spectrum, pixel values                                          pixels
    morphology    concentration, asymmetry, Gini, M20, Sérsic index, colour, ...        photutils and statmorph
    consistency   what readers of real galaxies see against what was asked              readers
    diversity     recall, coverage, Vendi score, spread within classes                    features
    memory        nearest training galaxy in 8 orientations, authenticity, duplicates   pixels, features
    usefulness    train on generated galaxies only, test on real galaxies                           readers

Real baseline: the other half of the held-out real galaxies in place of the generated galaxies. Negative controls:
noise, blurred real galaxies, one galaxy repeated, copies of training galaxies, shuffled prompts.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import torch
from pydantic import Field

from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.diffusion.condition import Condition
from galaxysd.diffusion.data import DataSettings
from galaxysd.diffusion.folder import SamplingSettings
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.errors import InputError
from galaxysd.evaluation import scores
from galaxysd.evaluation.cache import Cache, images_hash
from galaxysd.evaluation.external_images import ExternalImages, ExternalSample
from galaxysd.evaluation.goals import Verdict, verdicts
from galaxysd.evaluation.reader import ReaderSettings
from galaxysd.evaluation.reference import MEASURED, ReferenceData, evenly, real_sample
from galaxysd.evaluation.usefulness import LabelledImages
from galaxysd.generation.synthesize import synthesize_like
from galaxysd.io import replacing, write_atomically
from galaxysd.metrics import controls
from galaxysd.metrics.consistency import Calibration, Reading, calibration
from galaxysd.metrics.per_class import classes_of
from galaxysd.metrics.photometry import pixel_histograms
from galaxysd.metrics.power_spectrum import mean_spectrum, power_spectra, spectrum_distance
from galaxysd.reports import figures
from galaxysd.runs import Run, versions
from galaxysd.settings import FrozenModel, Settings
from galaxysd.stats import Score, unmeasured
from galaxysd.types import Pixels

FIGURES, GENERATED, REJECTED = "figures", "generated.npy", "rejected.parquet"
CACHE = "evaluation-cache"  # beside the report
CORNER = ("gini", "m20", "concentration", "ellipticity")


class EvaluationSettings(Settings):
    """What is measured, and how."""

    n: int = Field(default=1000, ge=2, description="galaxies of each sample, at most half of the held-out real ones")
    seed: int = Field(default=0, ge=0)
    measured: int = Field(default=200, ge=1, description="galaxies of each sample whose morphology is measured")
    neighbours: int = Field(default=5, ge=1, description="k of precision, recall, density and coverage")
    readers: ReaderSettings = Field(default=ReaderSettings(), description="that read the generated galaxies back")
    school: ReaderSettings = Field(
        default=ReaderSettings(readers=1, images=10_000),
        description="that learn from generated galaxies or from as many real ones",
    )
    data: DataSettings = Field(default=DataSettings(), description="which answers are believed")


class EvaluationIdentity(FrozenModel):
    """What makes two reports the same."""

    settings: EvaluationSettings
    model: str = Field(description="hash of the generator, or of its images")
    sampling: SamplingSettings | None = Field(description="null: images were given")
    encoder: str = Field(description="hash of the encoder")
    datasets: tuple[str, ...] = Field(description="survey and hash of the inputs of each dataset")


class Report(FrozenModel):
    """`report.json`."""

    model: str = Field(description="the generator, or where its images are")
    model_hash: str
    encoder: str
    encoder_hash: str
    sampling: SamplingSettings | None = Field(description="null: images were given")
    datasets: tuple[str, ...]
    seed: int
    halves: tuple[str, str] = Field(description="hashes of the real galaxies compared with, and of those of the floor")
    images: int = Field(description="generated images that were judged")
    rejected: int = Field(description="given images that could not be used, listed in rejected.parquet")
    scores: dict[str, dict[str, Score]] = Field(description="axis -> metric -> score")
    per_class: dict[str, dict[str, Score]] = Field(description="kind of galaxy (answer) -> metric -> score")
    calibration: dict[str, Calibration] = Field(description="reliability of the readers, real and generated")
    verdicts: tuple[Verdict, ...] = Field(description="per axis, whether the goals are met")
    versions: dict[str, str]


def evaluate(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    encoder: Encoder,
    settings: EvaluationSettings,
    model: str | Path | None = None,
    images: str | Path | None = None,
    cache: str | Path | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
) -> Report:
    """Make the report of a model or of images.

    Args:
        datasets: real galaxies; `test` is compared with, `train` is what the model may have learned from.
        out: folder of the report.
        encoder: whose features are compared.
        settings: what is measured.
        model: a shipped model or a model folder, which generated galaxies a galaxy like each of the real baseline's.
        images: folder, tar or table of images of any generator (external_images.py), instead of a model.
        cache: folder for what is measured of real galaxies; None: `evaluation-cache` beside the report.
        steps, guidance, sampler: other than the model's own.

    Raises:
        InputError: both or none of model and images, or the data are too few or do not fit the model.
    """
    if (model is None) == (images is None):
        raise InputError("evaluate: give either a model or images")
    reference_data = ReferenceData(datasets, settings.data, encoder, Cache(cache or Path(out).parent / CACHE))
    external = None if images is None else ExternalImages(images)
    pipeline = None if model is None else GalaxyPipeline.from_pretrained(model)
    if external is not None and (steps, guidance, sampler) != (None,) * 3:
        raise InputError("evaluate: steps, guidance and sampler belong to a model, not to images")
    sampling = None if pipeline is None else pipeline.sampling(steps=steps, guidance=guidance, sampler=sampler)
    identity = EvaluationIdentity(
        settings=settings,
        model=pipeline.model_hash if pipeline else external.hash if external else "",
        sampling=sampling,
        encoder=encoder.hash,
        datasets=reference_data.inputs,
    )
    run = Run.open(out, identity)
    if run.summary is not None:
        return Report.parse(run.summary, str(run.folder / "done.json"))

    with _stage(run, "dreams"):
        found: ExternalSample | None = None
        if external is not None:
            n = min(settings.n, len(reference_data.pools["test"]) // 2)
            found = external.read(
                n, reference_data.tree, reference_data.surveys, size=reference_data.size, seed=settings.seed
            )
            reference, real_baseline = reference_data.halves(len(found.sample), settings.seed)
            generated = found.sample
            _keep(run.folder, found)
        else:
            assert pipeline is not None and sampling is not None  # one of both is there
            reference, real_baseline = reference_data.halves(settings.n, settings.seed)
            generated = synthesize_like(
                pipeline,
                real_baseline,
                reference_data.tree,
                reference_data.surveys,
                sampling=sampling,
                seed=settings.seed,
                cache=run.folder / GENERATED,
            )
    samples = {
        "reference": reference.images,
        "real_baseline": real_baseline.images,
        "generated": generated.images,
        **_straw(reference_data, real_baseline, settings.seed),
    }
    told = found is None or found.told
    with _stage(run, "features"):
        features = {name: reference_data.features(one) for name, one in samples.items()}
        features["train"] = reference_data.train_features
    classes = {
        name: classes_of(one.fractions, one.known, reference_data.tree)
        for name, one in {
            "reference": reference,
            "real_baseline": real_baseline,
            "one repeated": real_baseline,
            "generated": generated,
        }.items()
        if told or name != "generated"
    }
    with _stage(run, "morphology"):
        tables = {
            name: reference_data.measure(evenly(samples[name], settings.measured // (2 if name == "blurred" else 1)))
            for name in ("reference", "real_baseline", "generated", "blurred")
        }
    with _stage(run, "nearest"):
        near = {
            name: reference_data.to_train(samples[name])
            for name in ("reference", "real_baseline", "generated", "training copies")
        }
    readings: dict[str, Reading] = {}
    consistency = {name: unmeasured(scores.UNTOLD, seed=settings.seed) for name in ("accuracy", "fraction error")}
    usefulness = {"accuracy when taught by": unmeasured(scores.UNTOLD, seed=settings.seed)}
    if told:
        with _stage(run, "readers"):
            reference_data.readers(settings.readers, settings.seed)
        with _stage(run, "reading"):
            readings = {
                name: Reading(
                    one.fractions,
                    one.known,
                    reference_data.read(one.images, settings.readers, settings.seed),
                    reference_data.tree,
                )
                for name, one in {"generated": generated, "real_baseline": real_baseline}.items()
            }
            consistency = scores.consistency(readings, settings.seed)
        with _stage(run, "school"):
            usefulness = _school(run, reference_data, generated, reference, settings, identity)
    with _stage(run, "scores"):
        axes = {
            "realism": scores.realism(features, settings.neighbours, settings.seed),
            "appearance": scores.appearance(samples, settings.seed),
            "morphology": scores.measured(tables, MEASURED, settings.seed),
            "consistency": consistency,
            "diversity": scores.diversity(features, classes, settings.neighbours, settings.seed),
            "memory": scores.memorization(near, features, settings.seed),
            "usefulness": usefulness,
        }
        per_class = scores.per_class(features, classes, reference_data.tree.columns, settings.seed) if told else {}
    report = Report(
        model=str(model or images),
        model_hash=identity.model,
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        sampling=sampling,
        datasets=identity.datasets,
        seed=settings.seed,
        halves=(images_hash(reference.images), images_hash(real_baseline.images)),
        images=len(generated),
        rejected=0 if found is None else found.rejected.height,
        scores=axes,
        per_class=per_class,
        calibration={name: calibration(reading) for name, reading in readings.items()},
        verdicts=verdicts(axes),
        versions=versions(),
    )
    with _stage(run, "figures"):
        shown = {"real": "reference", "generated": "generated", "real, blurred": "blurred"}
        draw(run.folder / FIGURES, {name: samples[key] for name, key in shown.items()}, tables, report.calibration)
    write_atomically(run.folder / "report.json", report.model_dump_json(indent=2) + "\n")
    run.finish(json.loads(report.model_dump_json()))
    return report


@contextmanager
def _stage(run: Run, name: str) -> Iterator[None]:
    """Log how long a part of the work took."""
    began = time.monotonic()
    yield
    run.log(stage=name, seconds=round(time.monotonic() - began, 2))


def _keep(folder: Path, found: ExternalSample) -> None:
    """Write the images that are judged, for the page, and the list of those that cannot be used."""
    with replacing(folder / GENERATED) as partial:
        np.save(partial, found.sample.images, allow_pickle=False)
    if found.rejected.height:
        with replacing(folder / REJECTED) as partial:
            found.rejected.write_parquet(partial)


def _straw(reference_data: ReferenceData, real_baseline: GalaxySet, seed: int) -> dict[str, Pixels]:
    """Samples that must do badly, as large as the real baseline."""
    rng = np.random.default_rng(seed)
    train = reference_data.pools["train"]
    copied = real_sample(train, rng.permutation(len(train))[: len(real_baseline)]).images
    return {
        "noise": controls.noise(real_baseline.images, rng),
        "blurred": controls.blurred(real_baseline.images),
        "one repeated": controls.repeated(real_baseline.images, rng),
        "training copies": controls.noisy_copies(copied, len(copied), rng),
    }


def _school(
    run: Run,
    reference_data: ReferenceData,
    generated: GalaxySet,
    reference: GalaxySet,
    settings: EvaluationSettings,
    identity: EvaluationIdentity,
) -> dict[str, Score]:
    """What can be learned from generated galaxies, and from as many real galaxies, whose training is kept for other
    reports.
    """
    train, val = reference_data.pools["train"], reference_data.pools["val"]
    chosen = np.sort(np.random.default_rng(settings.seed).permutation(len(train))[: len(generated)])
    teachers = {"generated": generated, "real_baseline": real_sample(train, chosen)}
    known = (settings.school.content_hash(), settings.seed, len(generated), *reference_data.identity)
    return scores.usefulness(
        {name: labelled(one) for name, one in teachers.items()},
        labelled(real_sample(val, np.arange(len(val)))),
        labelled(reference),
        reference_data.tree,
        {"generated": run.folder / "school", "real_baseline": reference_data.cache.place("school", *known)},
        settings.school,
        sources={"generated": identity.content_hash(), "real_baseline": " ".join(map(str, known))},
        seed=settings.seed,
    )


def draw(
    folder: Path,
    images: Mapping[str, Pixels],
    tables: Mapping[str, pl.DataFrame],
    calibrations: Mapping[str, Calibration],
) -> None:
    """Write the figures of the report as PNG files.

    Args:
        folder: where to.
        images: samples, the real one first.
        tables: of `ReferenceData.measure`.
        calibrations: of the readers; none if nobody knows what was asked for.
    """
    folder.mkdir(exist_ok=True)
    spectra = {name: power_spectra(one) for name, one in images.items()}
    real, *others = spectra
    ratios = {name: spectrum_distance(spectra[name], spectra[real], seed=0).ratio for name in others}
    pairs = {"real": tables["reference"], "generated": tables["generated"]}
    drawn = {
        "distributions": figures.distributions(pairs, MEASURED),
        "corner": figures.corner(pairs, {name: MEASURED[name] for name in CORNER}),
        "spectra": figures.spectra({name: mean_spectrum(one) for name, one in spectra.items()}, ratios),
        "histograms": figures.histograms({name: pixel_histograms(one) for name, one in images.items()}),
    }
    if calibrations:
        drawn["reliability"] = figures.reliability(calibrations)
    for name, content in drawn.items():
        (folder / f"{name}.png").write_bytes(content)


def labelled(sample: GalaxySet) -> LabelledImages:
    """A sample as readers learn from it."""
    told = Condition(
        torch.from_numpy(sample.fractions).float(), torch.from_numpy(sample.known), torch.from_numpy(sample.survey)
    )
    return LabelledImages(torch.from_numpy(np.ascontiguousarray(sample.images.transpose(0, 3, 1, 2))), told)
