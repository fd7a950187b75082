"""The axes of a report: each metric on the generated galaxies, on the real baseline and on the negative controls that
must do badly.

In: features [N, D] by sample name (`reference`, `real_baseline`, `generated`, `train` and negative controls), readings,
distances. Out: metric -> `Score`. `real_baseline` holds real galaxies in place of generated galaxies; both are compared
with `reference`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from galaxysd.catalog.tree import DecisionTree
from galaxysd.evaluation.reader import ReaderSettings
from galaxysd.evaluation.usefulness import LabelledImages, taught_by
from galaxysd.metrics.c2st import c2st
from galaxysd.metrics.consistency import Reading, fraction_errors, right_shares
from galaxysd.metrics.frechet import frechet
from galaxysd.metrics.kid import kid
from galaxysd.metrics.memorization import NEAR, authentic, duplicates
from galaxysd.metrics.morphology import compare_tables
from galaxysd.metrics.per_class import LEAST, spread, spread_within
from galaxysd.metrics.photometry import BANDS, histogram_distance, pixel_histograms
from galaxysd.metrics.power_spectrum import power_spectra, spectrum_distance
from galaxysd.metrics.prdc import prdc
from galaxysd.metrics.vendi import vendi
from galaxysd.stats import Estimate, Score, bootstrap, score, share, unmeasured
from galaxysd.types import Flags, Floats, Pixels

Features = Mapping[str, Floats]

UNTOLD = "the images come without conditions, so nobody knows what they were asked to show"
CLASS_REPEATS = 20  # of the subsets of a kernel distance within a kind; there are many kinds
RESAMPLES = 200  # of the bootstrap of measured parameters, whose distances sort all galaxies anew each time


def _judged(metric: Callable[[Floats], Estimate], features: Features, straw: tuple[str, ...], seed: int) -> Score:
    """The score of a metric of features."""
    men = {name: features[name] for name in straw}
    return score(
        metric, features["generated"], real_baseline=features["real_baseline"], negative_controls=men, seed=seed
    )


def _mean(seed: int) -> Callable[[Floats], Estimate]:
    """Mean of what is known of galaxies, with its interval."""
    return lambda values: bootstrap(np.mean, values[~np.isnan(values)], seed=seed)


def realism(features: Features, k: int, seed: int) -> dict[str, Score]:
    """Do the generated galaxies look like galaxies?"""
    real = features["reference"]
    straw = ("blurred", "noise")
    return {
        "Fréchet distance": _judged(lambda one: frechet(one, real, seed=seed), features, straw, seed),
        "kernel distance": _judged(lambda one: kid(one, real, seed=seed), features, straw, seed),
        "precision": _judged(lambda one: prdc(one, real, k=k).precision, features, straw, seed),
        "density": _judged(lambda one: prdc(one, real, k=k).density(seed=seed), features, straw, seed),
        "two-sample AUC": _judged(lambda one: c2st(one, real, seed=seed), features, straw, seed),
    }


def diversity(features: Features, classes: Mapping[str, Flags], k: int, seed: int) -> dict[str, Score]:
    """Are they as many-sided as real ones, all together and within a kind?

    Args:
        features: by sample.
        classes: which classes each galaxy is of (`per_class.classes_of`), of `reference`, `real_baseline`, `one
        repeated`, and of
            `generated` if that is known.
        k: neighbour of the manifolds.
        seed: of the intervals.
    """
    real = features["reference"]
    straw = ("one repeated", "noise")

    def joined(rows: Floats) -> Estimate:
        width = real.shape[1]
        return spread_within(rows[:, :width], rows[:, width:] > 0, real, classes["reference"], seed=seed)

    if "generated" in classes:
        rows = {name: np.concatenate([features[name], classes[name]], axis=1) for name in classes}
        men = {"one repeated": rows["one repeated"]}
        within = score(joined, rows["generated"], real_baseline=rows["real_baseline"], negative_controls=men, seed=seed)
    else:
        within = unmeasured(UNTOLD, seed=seed)
    return {
        "recall": _judged(lambda one: prdc(one, real, k=k).recall, features, straw, seed),
        "coverage": _judged(lambda one: prdc(one, real, k=k).coverage, features, straw, seed),
        "Vendi score": _judged(lambda one: vendi(one, seed=seed), features, straw, seed),
        "spread within kinds": within,
    }


def per_class(
    features: Features, classes: Mapping[str, Flags], names: Sequence[str], seed: int
) -> dict[str, dict[str, Score]]:
    """Realism and spread of each kind of galaxy that all samples hold enough of. Negative control: generated galaxies
    of all classes.

    Args:
        features: of `reference`, `real_baseline` and `generated`.
        classes: of the same (`per_class.classes_of`).
        names: of the classes.
        seed: of subsets and intervals.
    """
    found = {}
    sides = ("reference", "real_baseline", "generated")
    enough = np.all([classes[name].sum(axis=0) >= LEAST for name in sides], axis=0)
    for index in np.flatnonzero(enough):
        real, real_baseline, own = (features[name][classes[name][:, index]] for name in sides)
        any_kind = features["generated"][
            np.random.default_rng(seed).permutation(len(features["generated"]))[: len(own)]
        ]
        metrics: dict[str, Callable[[Floats], Estimate]] = {
            "Fréchet distance": partial(frechet, real=real, seed=seed),
            "kernel distance": partial(kid, real=real, seed=seed, repeats=CLASS_REPEATS),
            "spread": partial(spread, real=real, seed=seed),
        }
        found[names[int(index)]] = {
            name: score(metric, own, real_baseline=real_baseline, negative_controls={"any kind": any_kind}, seed=seed)
            for name, metric in metrics.items()
        }
    return found


def consistency(readings: Mapping[str, Reading], seed: int) -> dict[str, Score]:
    """Do they show what was asked for? Negative control: every generated galaxy held against the request of another."""
    generated, real_baseline = readings["generated"], readings["real_baseline"]

    def judged(values: Callable[[Reading], Floats]) -> Score:
        men = {"shuffled prompts": values(generated.shuffled(seed))}
        return score(
            _mean(seed), values(generated), real_baseline=values(real_baseline), negative_controls=men, seed=seed
        )

    return {"accuracy": judged(right_shares), "fraction error": judged(fraction_errors)}


def memorization(near: Mapping[str, Floats], features: Features, seed: int) -> dict[str, Score]:
    """Are they copies? `near` holds distances to training of `reference`, `real_baseline`, `generated` and `training
    copies`.
    """
    threshold = float(np.quantile(near["reference"], NEAR))
    train, real = features["train"], features["reference"]
    straw = ("training copies",)
    return {
        "nearer than 1 % of real": _judged(lambda one: share(one < threshold), near, straw, seed),
        "authentic": _judged(lambda one: share(authentic(one, train)), features, straw, seed),
        "duplicates": _judged(lambda one: share(duplicates(one, real).flags), features, ("one repeated",), seed),
    }


def _beside(compare: Callable[[str], Estimate], straw: tuple[str, ...], n: int, seed: int) -> Score:
    """A score from a comparison of a named sample with the reference."""
    real_baseline = compare("real_baseline")
    own = compare("generated")
    men: dict[str, float | None] = {name: compare(name).value for name in straw}
    return Score(
        value=own.value, low=own.low, high=own.high, n=n, seed=seed, real_baseline=real_baseline, negative_controls=men
    )


def appearance(images: Mapping[str, Pixels], seed: int) -> dict[str, Score]:
    """Texture and light of the images themselves: power spectrum in dex, pixel values in 8-bit steps."""
    straw = ("blurred", "noise")
    spectra = {name: power_spectra(images[name]) for name in ("reference", "real_baseline", "generated", *straw)}
    shares = {name: pixel_histograms(images[name]) for name in spectra}

    def spectrum(name: str) -> Estimate:
        return spectrum_distance(spectra[name], spectra["reference"], seed=seed).distance

    def histogram(band: str) -> Callable[[str], Estimate]:
        return lambda name: histogram_distance(shares[name], shares["reference"], seed=seed)[band]

    n = len(images["generated"])
    return {
        "power spectrum": _beside(spectrum, straw, n, seed),
        **{f"pixel values, {band}": _beside(histogram(band), straw, n, seed) for band in BANDS},
    }


def measured(tables: Mapping[str, pl.DataFrame], parameters: Mapping[str, str], seed: int) -> dict[str, Score]:
    """Wasserstein distance of measured parameters to the reference, in deviations of real galaxies.

    Args:
        tables: of `reference`, `real_baseline`, `generated` and `blurred` (metrics/morphology.py,
        metrics/photometry.py).
        parameters: column -> name in the report.
        seed: of the bootstrap.
    """
    real = tables["reference"]
    sides = ("generated", "real_baseline", "blurred")
    found = {
        name: compare_tables(tables[name], real, list(parameters), seed=seed, resamples=RESAMPLES) for name in sides
    }
    scores = {}
    for column, label in parameters.items():
        own, real_baseline, blurred = (found[name].parameters[column] for name in sides)
        value = own.wasserstein
        scores[label] = Score(
            value=None if value is None else value.value,
            low=None if value is None else value.low,
            high=None if value is None else value.high,
            n=min(own.n_generated, own.n_real),
            seed=seed,
            real_baseline=real_baseline.wasserstein,
            negative_controls={"blurred": None if blurred.wasserstein is None else blurred.wasserstein.value},
            note=own.note,
        )
    failed = {name: one.failed_generated for name, one in found.items()}
    scores["share that cannot be measured"] = _beside(
        lambda name: failed[name], ("blurred",), len(tables["generated"]), seed
    )
    return scores


def usefulness(
    teachers: Mapping[str, LabelledImages],
    held_out: LabelledImages,
    test: LabelledImages,
    tree: DecisionTree,
    folders: Mapping[str, Path],
    settings: ReaderSettings,
    *,
    sources: Mapping[str, str],
    seed: int,
) -> dict[str, Score]:
    """Can one learn from them? Mean over questions of the accuracy on real galaxies of who learned from them alone.

    Args:
        teachers: `generated`, and equally many real galaxies as `real_baseline`.
        held_out: real galaxies to watch the trainings with.
        test: real galaxies that are asked about.
        tree: of all.
        folders: for the trainings, by teacher.
        settings: of the trainings.
        sources: identity of the teachers.
        seed: of trainings and intervals.
    """
    right = {
        name: taught_by(sources[name], one, held_out, test, tree, folders[name], settings, seed=seed)
        for name, one in teachers.items()
    }
    asked, known = test.asked()
    guess = Reading(asked, known, np.broadcast_to(asked.mean(axis=0), asked.shape), tree)

    men = {"the commonest answers": right_shares(guess)}
    return {
        "accuracy when taught by": score(
            _mean(seed), right["generated"], real_baseline=right["real_baseline"], negative_controls=men, seed=seed
        )
    }
