"""What a change of the code's structure must not change, computed anew.

    python tests/oracle/recompute.py            compare with the stored numbers, a line each
    python tests/oracle/recompute.py --write    store them

In: nothing but drawn galaxies and fixed arrays. Out: `tests/oracle/*.json`: predictions of a classifier, candidates of
a search, the bytes of a published catalogue, features of the shipped encoder, and metrics. No pixel of a generator is
among them.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import torch
from astropy.io.fits.hdu.base import _ValidHDU

sys.path.insert(0, str(Path(__file__).parents[1]))

from toy_search import SEARCH, candidates
from toy_survey import toy_dataset

from galaxysd.classifiers.checkpoint import ClassifierRecord
from galaxysd.classifiers.metrics import class_metrics
from galaxysd.classifiers.network import ClassifierNetwork, make_network
from galaxysd.classifiers.predict import predict_table
from galaxysd.classifiers.train import ClassifierSettings, GalaxyClassifier, train_classifier
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.data.toy_survey import random_galaxy, render
from galaxysd.encoders.registry import load_encoder
from galaxysd.metrics.c2st import c2st
from galaxysd.metrics.controls import blurred
from galaxysd.metrics.frechet import frechet
from galaxysd.metrics.kid import kid
from galaxysd.metrics.memorization import authentic, duplicates, nearest
from galaxysd.metrics.photometry import histogram_distance, measure_light, pixel_histograms
from galaxysd.metrics.power_spectrum import power_spectra, spectrum_distance
from galaxysd.metrics.prdc import prdc
from galaxysd.metrics.ranking import average_precision, completeness_at, completeness_at_purity, to_inspect
from galaxysd.metrics.vendi import vendi
from galaxysd.search.candidates import explain_candidates, top
from galaxysd.search.discover import _out_of_bag
from galaxysd.search.ranker import RankerSettings, train_ranker
from galaxysd.search.score import score_survey
from galaxysd.search.survey import Survey
from galaxysd.search.training_set import UNLABELLED, Group, gallery, split
from galaxysd.stats import bootstrap, share
from galaxysd.training.fit import FitSettings
from galaxysd.vetting.publish import publish
from galaxysd.vetting.store import VettingStore

FOLDER = Path(__file__).parent
CLASSES = ("smooth", "edge_on", "spiral")


def galaxies(kind: str | None, n: int, *, seed: int, size: int) -> np.ndarray:
    """N drawn galaxies of a kind, uint8 [n, size, size, 3]."""
    rng = np.random.default_rng(seed)
    return np.stack([render(random_galaxy(rng, kind), rng, size) for _ in range(n)])


def labelled(n: int, *, seed: int) -> GalaxySet:
    """N drawn galaxies of each class at 16 px."""
    images = np.concatenate([galaxies(kind, n, seed=seed + index, size=16) for index, kind in enumerate(CLASSES)])
    ids = [f"toy:{seed}-{index}" for index in range(len(images))]
    return GalaxySet(images, ids, labels=np.repeat(np.arange(len(CLASSES)), n))


def classifier(folder: Path) -> dict[str, Any]:
    """Predictions of a network of fixed random weights as a table, and of one that was trained for a moment."""
    survey = toy_dataset(folder, n=60)
    torch.manual_seed(0)
    settings = ClassifierNetwork(widths=(8, 16), depths=(1, 1))
    record = ClassifierRecord(target="classes", network=settings, outputs=CLASSES, size=16)
    fixed = GalaxyClassifier(make_network(settings, 3).eval(), record)
    fixed.save(folder / "fixed")
    predict_table(survey, [folder / "fixed"], folder / "table.parquet")
    table = pl.read_parquet(folder / "table.parquet")
    how = ClassifierSettings(
        network=settings,
        images=320,
        augmentation="strong",
        fit=FitSettings(batch=32, learning_rate=0.01, warmup=64, log_every=320, snapshot_every=10**9),
    )
    train, held_out, test = (labelled(n, seed=seed) for n, seed in ((20, 10), (8, 20), (12, 30)))
    trained = train_classifier(train, held_out, CLASSES, folder / "training", how)
    found = trained.probabilities(test.images)
    return {
        "hash": fixed.hash,
        "id": table["id"].to_list(),
        "class": table["class"].to_list(),
        "probabilities": table.select(f"p_{name}" for name in CLASSES).to_numpy().round(4).tolist(),
        "trained": found.round(3).tolist(),
        "metrics": class_metrics(test.labels, found).round(3).tolist(),
    }


def group(kind: str, label: int, images: np.ndarray) -> Group:
    """Drawn galaxies in the place of generated ones."""
    return Group(kind, label, GalaxySet(images, [f"{kind[:1]}{index}" for index in range(len(images))]), True)


def search(folder: Path) -> dict[str, Any]:
    """The candidates of a search whose examples are drawn instead of generated."""
    survey = Survey.open(toy_dataset(folder, n=90))
    names, images = survey.sample(60, seed=0)
    groups = [
        group("target", 1, galaxies("edge_on", 40, seed=1, size=16)),
        group("no_feature", 0, galaxies("disk", 40, seed=2, size=16)),
        group("background", 0, galaxies(None, 40, seed=3, size=16)),
        Group(UNLABELLED, 0, GalaxySet(images, [f"sdss:{name}" for name in names]), False),
    ]
    encoder = load_encoder("pixels")
    learned, held = split(groups, 0.2, 0)
    ranker = train_ranker(encoder, learned, held, RankerSettings(), members=3)
    score_survey(survey, ranker, folder / "scores")
    fair = _out_of_bag(learned[-1], ranker, survey)
    ranked = top(folder / "scores", 12, better=fair)
    listed = explain_candidates(
        ranked,
        survey,
        lambda pixels: ranker(pixels)[0],
        encoder,
        **{"generated": gallery(groups[:1]), "known": gallery([])},
        out=folder,
        mapped=2,
    )
    return {
        "survey": survey.hash,
        "id": listed["id"].to_list(),
        "score": listed["score"].round(6).to_list(),
        "spread": listed["spread"].round(6).to_list(),
        "nearest": listed[listed.columns[6]].to_list(),
        "distance": listed[listed.columns[7]].round(4).to_list(),
        "ra": listed["ra"].to_list(),
    }


def catalogue(folder: Path) -> dict[str, Any]:
    """SHA-256 of the tables of a published catalogue, and what was estimated."""
    with (
        VettingStore.open(folder / "votes.db") as store,
        mock.patch("time.time", return_value=1.7e9),
        mock.patch("time.strftime", return_value="2026-01-01"),
        mock.patch.object(_ValidHDU, "_get_timestamp", return_value="2026-01-01T00:00:00"),
    ):
        store.add_candidates(SEARCH, candidates(24, images=True))
        for rank in range(1, 21):
            for voter in ("a", "b", "c"):
                answer = "yes" if rank % 3 else "unsure" if rank % 2 else "no"
                store.cast_vote(SEARCH.name, f"g{rank:04d}", voter, answer)
        known = folder / "known.csv"
        known.write_text("name,ra,dec\nNGC 1,2.0003,-5\n")
        report = publish(store, SEARCH.name, folder / "out", known=[known])
    return {
        "files": report.files,
        "votes": report.votes_hash,
        "verdicts": report.verdicts,
        "known": report.known,
        "estimate": report.estimate.model_dump(mode="json"),
    }


def encoder(_: Path) -> dict[str, Any]:
    """Features of the shipped encoder."""
    images = galaxies(None, 4, seed=5, size=64)
    once, eight = load_encoder("galaxyemb"), load_encoder("galaxyemb", orientations=8)
    return {
        "hash": [once.hash, eight.hash],
        "features": once.features(images)[:, :6].astype(float).round(3).tolist(),
        "eight": eight.features(images)[:, :6].astype(float).round(3).tolist(),
    }


def metrics(_: Path) -> dict[str, Any]:
    """Metrics on fixed arrays and drawn galaxies."""
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(240, 6)), rng.normal(0.2, 1.1, size=(200, 6))
    both = prdc(made, real)
    scores, truth = rng.normal(size=300), rng.random(300) < 0.2
    scores = np.where(truth, scores + 1, scores).round(1)
    first, second = galaxies("spiral", 24, seed=7, size=32), galaxies("smooth", 24, seed=8, size=32)
    light = measure_light(first)
    near = nearest(*(torch.from_numpy(one.transpose(0, 3, 1, 2).copy()) for one in (first, second)))
    spectra = [power_spectra(one) for one in (blurred(first), first)]
    flags = rng.random(80) < 0.3
    found: dict[str, Any] = {
        "frechet": frechet(made, real, seed=0).model_dump(),
        "kid": kid(made, real, seed=0).model_dump(),
        "precision": both.precision.model_dump(),
        "recall": both.recall.model_dump(),
        "density": both.density(seed=0).model_dump(),
        "coverage": both.coverage.model_dump(),
        "auc": c2st(made, real, seed=0, resamples=100).model_dump(),
        "vendi": vendi(made, seed=0).model_dump(),
        "authentic": share(authentic(made, real)).model_dump(),
        "duplicates": duplicates(made, real, quantile=1e-3).threshold,
        "nearest": near.distance.tolist(),
        "spectrum": spectrum_distance(*spectra, seed=0, resamples=50).distance.model_dump(),
        "histogram": histogram_distance(pixel_histograms(first), pixel_histograms(second), seed=0)["red"].model_dump(),
        "light": light.select("total_light", "g_r").to_numpy().tolist(),
        "bootstrap": bootstrap(np.median, real[:, 0], seed=0).model_dump(),
        "share": share(flags).model_dump(),
        "average precision": average_precision(scores, truth),
        "completeness": [completeness_at(scores, truth, 30), completeness_at_purity(scores, truth, 0.5)],
        "to inspect": to_inspect(scores, truth, 0.8),
    }
    return found


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "classifier": classifier,
    "search": search,
    "catalogue": catalogue,
    "encoder": encoder,
    "metrics": metrics,
}


def recompute(part: str) -> dict[str, Any]:
    """One part as it comes back from JSON."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            found: dict[str, Any] = json.loads(json.dumps(PARTS[part](Path(folder))))
            return found
    finally:
        torch.set_num_threads(threads)


def difference(stored: Any, found: Any, *, tolerance: float = 1e-6) -> str | None:
    """Where two values differ first by more than rounding, or None."""
    if isinstance(stored, dict) and isinstance(found, dict):
        if stored.keys() != found.keys():
            return f"keys {sorted(stored)} became {sorted(found)}"
        pairs = [(key, stored[key], found[key]) for key in stored]
    elif isinstance(stored, list) and isinstance(found, list):
        if len(stored) != len(found):
            return f"{len(stored)} values became {len(found)}"
        pairs = [(str(index), *pair) for index, pair in enumerate(zip(stored, found, strict=True))]
    elif isinstance(stored, float) and isinstance(found, int | float):
        return None if abs(stored - found) <= tolerance * max(1, abs(stored)) else f"{stored} became {found}"
    else:
        return None if stored == found else f"{stored!r} became {found!r}"
    for key, one, other in pairs:
        if (text := difference(one, other, tolerance=tolerance)) is not None:
            return f"{key}: {text}"
    return None


def main() -> None:
    """Compare, or write."""
    for part in PARTS:
        found, path = recompute(part), FOLDER / f"{part}.json"
        if "--write" in sys.argv:
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(f"{part}: written")
            continue
        for key, value in json.loads(path.read_text(encoding="utf-8")).items():
            print(f"{part:12} {key:20} {difference(value, found.get(key)) or 'equal'}")


if __name__ == "__main__":
    main()
