"""Judge a generator: every axis with its floor, its straw men and an interval, in one report.

In: a model, real datasets, an encoder. Out: REPORT/report.json and REPORT/report.html. The same command again takes up
what is done (dreams, readers); a finished report is not made twice.

    realism       Fréchet and kernel distance, precision, density, two-sample test      features
    appearance    power spectrum, pixel values                                          pixels
    morphology    concentration, asymmetry, Gini, M20, Sérsic index, colour, ...        photutils and statmorph
    consistency   what readers of real galaxies see against what was asked              readers
    diversity     recall, coverage, Vendi score                                         features
    memory        nearest training galaxy in 8 orientations, authenticity, duplicates   pixels, features
    usefulness    train on dreams only, test on real galaxies                           readers

Floor: the other half of the held-out real galaxies in place of the dreams. Straw men: noise, blurred real galaxies, one
galaxy repeated, copies of training galaxies, shuffled prompts.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from pydantic import Field

from galaxysd.diffusion.condition import Condition
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.diffusion.folder import SamplingSettings
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.embedding.encoder import Encoder
from galaxysd.evaluation import axes, plots, straw_men
from galaxysd.evaluation.consistency import Calibration, Reading, calibration
from galaxysd.evaluation.intervals import Score
from galaxysd.evaluation.photometry import measure_light, pixel_histograms
from galaxysd.evaluation.physical import measure_morphology
from galaxysd.evaluation.reader import ReaderSettings, train_readers
from galaxysd.evaluation.samples import Sample, dreams, halves, real_sample
from galaxysd.evaluation.spectrum import mean_spectrum, power_spectra, spectrum_distance
from galaxysd.evaluation.usefulness import LabelledImages
from galaxysd.images.dataset import Dataset
from galaxysd.runs import Run, versions, write_atomically
from galaxysd.settings import Settings

Pixels = npt.NDArray[np.uint8]

FIGURES = "figures"
MEASURED = {  # column: name in the report
    "concentration": "concentration",
    "asymmetry": "asymmetry",
    "smoothness": "smoothness",
    "gini": "Gini",
    "m20": "M20",
    "ellipticity": "ellipticity",
    "half_light_radius": "half-light radius, px",
    "sersic_index": "Sérsic index",
    "total_light": "total light",
    "g_r": "g - r of the picture",
    "r_i": "r - i of the picture",
    "sky_noise": "sky noise, 8-bit steps",
}

CORNER = ("gini", "m20", "concentration", "ellipticity")


class EvaluationSettings(Settings):
    """What is measured, and how."""

    n: int = Field(default=1000, ge=2, description="galaxies of each sample, at most half of the held-out real ones")
    seed: int = Field(default=0, ge=0)
    measured: int = Field(default=300, ge=1, description="galaxies of each sample whose morphology is measured")
    neighbours: int = Field(default=5, ge=1, description="k of precision, recall, density and coverage")
    readers: ReaderSettings = Field(default=ReaderSettings(), description="that read the dreams back")
    school: ReaderSettings = Field(
        default=ReaderSettings(readers=1, images=48_000), description="that learn from dreams or from as many real ones"
    )
    data: DataSettings = Field(default=DataSettings(), description="which answers are believed")


class EvaluationIdentity(Settings):
    """What makes two reports the same."""

    settings: EvaluationSettings
    model: str = Field(description="hash of the generator")
    sampling: SamplingSettings
    encoder: str = Field(description="hash of the encoder")
    datasets: tuple[str, ...] = Field(description="survey and hash of the inputs of each dataset")


class Report(Settings):
    """`report.json`."""

    model: str
    model_hash: str
    encoder: str
    encoder_hash: str
    sampling: SamplingSettings
    datasets: tuple[str, ...]
    seed: int
    axes: dict[str, dict[str, Score]] = Field(description="axis -> metric -> score")
    calibration: dict[str, Calibration] = Field(description="reliability of the readers, real and dreamed")
    versions: dict[str, str]


def evaluate(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path,
    encoder: Encoder,
    settings: EvaluationSettings,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
) -> Report:
    """Make the report.

    Args:
        datasets: real galaxies; `test` is compared with, `train` is what the model may have learned from.
        out: folder of the report.
        model: a shipped model or a model folder.
        encoder: whose features are compared.
        settings: what is measured.
        steps, guidance, sampler: other than the model's own.

    Raises:
        InputError: the data are too few or do not fit the model.
    """
    opened = [Dataset.open(folder) for folder in datasets]
    pipeline = GalaxyPipeline.from_pretrained(model)
    sampling = pipeline.sampling(steps=steps, guidance=guidance, sampler=sampler)
    identity = EvaluationIdentity(
        settings=settings,
        model=pipeline.model_hash,
        sampling=sampling,
        encoder=encoder.hash,
        datasets=tuple(f"{data.survey}:{data.info.inputs}" for data in opened),
    )
    run = Run.open(out, identity)
    if run.summary is not None:
        return Report.parse(run.summary, str(run.folder / "done.json"))
    pools = {
        split: GalaxyPool(opened, split, settings.data, run.folder / "pixels") for split in ("train", "val", "test")
    }
    tree, surveys = pools["test"].tree, pools["test"].surveys
    rng = np.random.default_rng(settings.seed)
    reference, floor = halves(pools["test"], settings.n, settings.seed)
    train = real_sample(pools["train"], np.arange(len(pools["train"])))
    dreamed = dreams(
        pipeline, floor, tree, surveys, settings=sampling, seed=settings.seed, keep=run.folder / "dreamed.npy"
    )
    straw = {
        "noise": straw_men.noise(floor.images, rng),
        "blurred": straw_men.blurred(floor.images),
        "one repeated": straw_men.repeated(floor.images, rng),
        "training copies": straw_men.noisy_copies(train.images, len(floor), rng),
    }
    readers = train_readers(opened, run.folder / "readers", settings.readers, seed=settings.seed)
    features = {
        name: encoder.features(images).astype(np.float64)
        for name, images in {
            "reference": reference.images,
            "floor": floor.images,
            "dreamed": dreamed.images,
            "train": train.images,
            **straw,
        }.items()
    }
    readings = {
        name: Reading(sample.fractions, sample.known, readers.read(sample.images), tree)
        for name, sample in {"dreamed": dreamed, "floor": floor}.items()
    }
    samples = {"reference": reference.images, "floor": floor.images, "dreamed": dreamed.images, **straw}
    tables = {
        name: measure(samples[name][: settings.measured]) for name in ("reference", "floor", "dreamed", "blurred")
    }
    near = {
        name: axes.to_train(samples[name], train.images)
        for name in ("reference", "floor", "dreamed", "training copies")
    }
    teachers = {
        "dreamed": dreamed,
        "floor": real_sample(pools["train"], np.sort(rng.choice(len(pools["train"]), len(floor), replace=False))),
    }
    report = Report(
        model=str(model),
        model_hash=pipeline.model_hash,
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        sampling=sampling,
        datasets=identity.datasets,
        seed=settings.seed,
        axes={
            "realism": axes.realism(features, settings.neighbours, settings.seed),
            "appearance": axes.appearance(samples, settings.seed),
            "morphology": axes.measured(tables, MEASURED, settings.seed),
            "consistency": axes.consistency(readings, settings.seed),
            "diversity": axes.diversity(features, settings.neighbours, settings.seed),
            "memory": axes.memory_of(near, features, settings.seed),
            "usefulness": axes.usefulness(
                {name: labelled(one) for name, one in teachers.items()},
                labelled(real_sample(pools["val"], np.arange(len(pools["val"])))),
                labelled(reference),
                tree,
                run.folder / "school",
                settings.school,
                source=identity.content_hash(),
                seed=settings.seed,
            ),
        },
        calibration={name: calibration(reading) for name, reading in readings.items()},
        versions=versions(),
    )
    shown = {"real": "reference", "dreamed": "dreamed", "real, blurred": "blurred"}
    draw(run.folder / FIGURES, {name: samples[key] for name, key in shown.items()}, tables, report.calibration)
    write_atomically(run.folder / "report.json", report.model_dump_json(indent=2) + "\n")
    run.finish(json.loads(report.model_dump_json()))
    return report


def measure(images: Pixels) -> pl.DataFrame:
    """Morphology and light of images, a row each, columns of `MEASURED`; `measured` where both could be had."""
    shape, light = measure_morphology(images), measure_light(images)
    both = shape["measured"] & light["measured"]
    columns = [shape[name] if name in shape.columns else light[name] for name in MEASURED]
    return pl.DataFrame([*columns, both])


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
        tables: of `measure`.
        calibrations: of the readers.
    """
    folder.mkdir(exist_ok=True)
    spectra = {name: power_spectra(one) for name, one in images.items()}
    real, *others = spectra
    ratios = {name: spectrum_distance(spectra[name], spectra[real], seed=0).ratio for name in others}
    pairs = {"real": tables["reference"], "dreamed": tables["dreamed"]}
    drawn = {
        "distributions": plots.distributions(pairs, MEASURED),
        "corner": plots.corner(
            pairs, {name: MEASURED[name] for name in ("gini", "m20", "concentration", "ellipticity")}
        ),
        "spectra": plots.spectra({name: mean_spectrum(one) for name, one in spectra.items()}, ratios),
        "histograms": plots.histograms({name: pixel_histograms(one) for name, one in images.items()}),
        "reliability": plots.reliability(calibrations),
    }
    for name, content in drawn.items():
        (folder / f"{name}.png").write_bytes(content)


def labelled(sample: Sample) -> LabelledImages:
    """A sample as readers learn from it."""
    told = Condition(
        torch.from_numpy(sample.fractions).float(), torch.from_numpy(sample.known), torch.from_numpy(sample.survey)
    )
    return LabelledImages(torch.from_numpy(np.ascontiguousarray(sample.images.transpose(0, 3, 1, 2))), told)
