"""The rows of the table of generators: each measure on generated galaxies, on real ones, and on what must do badly.

In: a `Bench` of real galaxies and the images of a generator (`Made`). Out: rows as plain values, each kept in WORK, so
that they are measured once. The measures themselves are in galaxysd.metrics and galaxysd.evaluation.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from generator_samples import KINDS, PAIR_FRAME, Bench, Made, Sample

from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.framing import resize
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.errors import InputError
from galaxysd.evaluation.cache import images_hash
from galaxysd.evaluation.cas import classification_accuracy
from galaxysd.evaluation.reader import ReaderSettings
from galaxysd.io import write_atomically
from galaxysd.metrics import controls
from galaxysd.metrics.border import overfilled
from galaxysd.metrics.c2st import c2st
from galaxysd.metrics.consistency import Reading, right_shares
from galaxysd.metrics.frechet import frechet_distance
from galaxysd.metrics.grid import PERIODS, grid_peaks
from galaxysd.metrics.memorization import NEAR
from galaxysd.metrics.morphology import compare_values, measure_morphology, measured_values, sky
from galaxysd.metrics.pixel_test import pixel_test
from galaxysd.metrics.power_spectrum import power_spectra
from galaxysd.metrics.prdc import prdc
from galaxysd.metrics.sharpness import laplacian_energy, ratio_of_means
from galaxysd.stats import Estimate, bootstrap, over_subsets, share
from galaxysd.types import Flags, Floats, Pixels

VERSION = 1  # of the rules; another one measures anew
HALF = 0.5  # from which on an answer is given
CLEARLY = 8.0  # grey levels, rms difference of pictures that differ clearly
FINE_BLUR = 0.7  # px: a control that the eye hardly sees
SHAPES = ("gini", "m20", "asymmetry")

Values = dict[str, Any]


class Table:
    """Rows of one bench, kept in a folder.

    Attributes:
        bench: real galaxies.
        folder: of the rows.
    """

    def __init__(self, bench: Bench, *, steps: int, school: int, workers: int = 1) -> None:
        self.bench, self.steps, self.workers = bench, steps, workers
        self.school = ReaderSettings(readers=1, images=school)
        parts = (VERSION, bench.n, bench.per_kind, bench.seed, steps, school)
        self.folder = bench.cache.place("table", *bench.ground.identity, *parts)

    def kept(self, name: str, compute: Callable[[], Any]) -> Any:
        """A JSON value, computed at most once."""
        path = self.folder / f"{name}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(compute(), indent=1) + "\n")
        return json.loads(path.read_text(encoding="utf-8"))

    def real(self, name: str, compute: Callable[[], float]) -> float:
        """A number about real galaxies, computed at most once for all generators."""
        return float(self.kept(f"real/{name}", lambda: float(compute())))

    def features(self, images: Pixels) -> Floats:
        """Features in GalaxyEmb."""
        return self.bench.ground.features(images)

    def read(self, images: Pixels) -> Floats:
        """Fractions that the readers see."""
        return self.bench.ground.read(images, self.bench.readers, self.bench.seed)

    def shapes(self, images: Pixels) -> pl.DataFrame:
        """Morphology of images, measured once."""
        key = images_hash(images)
        return self.bench.cache.table("shapes", key, compute=lambda: measure_morphology(images, workers=self.workers))

    def pixel_area(self, images: Pixels) -> Estimate:
        """Area of the test at full resolution against real galaxies."""
        bench = self.bench
        return pixel_test(images, bench.test.images, bench.teachers.images, seed=bench.seed, steps=self.steps)

    def rows(self, made: Made) -> list[Values]:
        """All rows of a generator; those that its images do not allow have a note instead of a value."""
        found = []
        for name, function in MEASURES:
            began = time.monotonic()
            fresh = not (self.folder / made.key / f"{name}.json").is_file()

            def compute(function: Measure = function, name: str = name) -> list[Values]:
                try:
                    return function(self, made)
                except InputError as error:
                    return [row(name, None, self.bench.seed, note=str(error))]

            done = self.kept(f"{made.key}/{name}", compute)
            if fresh:
                print(f"{made.name}: {name} ({time.monotonic() - began:.0f} s)", flush=True)
            found += done
        return found


Measure = Callable[[Table, Made], list[Values]]


def row(
    measure: str,
    found: Estimate | None,
    seed: int,
    *,
    real: float | None = None,
    control: float | None = None,
    goal: str = "",
    met: bool | None = None,
    note: str | None = None,
    **detail: Any,
) -> Values:
    """One row of the table."""
    values: Values = {"measure": measure, "n": 0, "seed": seed, "value": None, "low": None, "high": None}
    if found is not None:
        values |= {"n": found.n, "value": found.value, "low": found.low, "high": found.high}
    values |= {"real": real, "control": control, "goal": goal, "met": met}
    return values | ({"note": note} if note else {}) | ({"detail": detail} if detail else {})


def need(made: Made, name: str) -> Pixels:
    """Images of a set.

    Raises:
        InputError: there are none.
    """
    images = made.get(name)
    if images is None:
        raise InputError(f"no images of the set {name!r}")
    return images


def blurred(images: Pixels, sigma: float = FINE_BLUR) -> Pixels:
    """The control of everything that looks at texture."""
    return controls.blurred(images, sigma)


def recognised(read: Floats, columns: Sequence[str], tree: DecisionTree, way: DecisionTree) -> Flags:
    """Pictures in which readers see all of some answers [N]: the rule by which volunteers agree on them.

    Each is the largest of its question, and it and an answer on every step of the way to it have at least one half.

    Args:
        read: fractions [N, A].
        columns: the answers.
        tree: of the fractions.
        way: the questions that the survey asks, each after which.
    """
    fractions = dict(zip(tree.columns, read.T, strict=True))

    def reached(column: str) -> Flags:
        after = way.question_of[column].after if column in way.question_of else ()
        if not after:
            return np.ones(len(read), bool)
        ways = [(fractions[one] >= HALF) & reached(one) for one in after if one in fractions]
        found: Flags = np.any(ways, axis=0)
        return found

    def named(column: str) -> Flags:
        others = [fractions[one] for one in tree.question_of[column].columns]
        found: Flags = (fractions[column] >= HALF) & (fractions[column] >= np.max(others, axis=0)) & reached(column)
        return found

    return np.all([named(column) for column in columns], axis=0)


def kinds(table: Table, made: Made) -> list[Values]:
    """Eight kinds from bare prompts, read by classifiers of real galaxies."""
    bench, found = table.bench, []
    read = {name: table.read(images) for name in KINDS if (images := made.get(f"kind-{name}")) is not None}
    for name, prompt in KINDS.items():
        measure = f"kind read: {name}"
        if name not in read:
            found.append(row(measure, None, bench.seed, note="no images"))
            continue
        columns = bench.columns(prompt)
        survey = made.frames.get(f"kind-{name}") or bench.frame(bench.bare(prompt))
        way = bench.trees[survey]

        def real(columns: Sequence[str] = columns, survey: str | None = survey, way: DecisionTree = way) -> float:
            sample = bench.real_of(columns, survey, bench.n)
            return share(recognised(table.read(sample.images), columns, bench.tree, way)).value

        level = table.real(f"kind-{name}-{survey}", real)
        others = [recognised(one, columns, bench.tree, way).mean() for other, one in read.items() if other != name]
        own = share(recognised(read[name], columns, bench.tree, way))
        found.append(
            row(
                measure,
                own,
                bench.seed,
                real=level,
                control=float(np.mean(others)) if others else None,
                goal=">= real - .03",
                met=own.value >= level - 0.03,
                frame=survey,
            )
        )
    return found


def rms(first: Pixels, second: Pixels) -> Floats:
    """Root mean square difference of pairs of pictures, grey levels [N]."""
    n = min(len(first), len(second))
    apart = first[:n].astype(np.float64) - second[:n]
    found: Floats = np.sqrt(np.square(apart).mean(axis=(1, 2, 3)))
    return found


def same_seed(table: Table, made: Made) -> list[Values]:
    """Two kinds from the same noise: are they two pictures?"""
    bench, found = table.bench, []
    for one, other in (("cigar", "edge-on"), ("round", "in-between")):
        pair = [need(made, f"pair-{name}") for name in (one, other)]
        own = bootstrap(np.mean, rms(*pair), seed=bench.seed)

        def real(one: str = one, other: str = other) -> float:
            samples = [bench.real_of(bench.columns(KINDS[name]), PAIR_FRAME, 64).images for name in (one, other)]
            return float(rms(*samples).mean())

        found.append(
            row(
                f"{one} against {other}, same seed: rms difference, grey levels",
                own,
                bench.seed,
                real=table.real(f"pair-{one}", real),
                control=0.0,
                goal=f">= {CLEARLY:g}",
                met=own.value >= CLEARLY,
            )
        )
    return found


def axis_ratio(table: Table, made: Made) -> list[Values]:
    """Axis ratio of in-between galaxies."""
    bench = table.bench

    def ratios(images: Pixels) -> Floats:
        return 1 - measured_values(table.shapes(images), "ellipticity")

    own = bootstrap(np.mean, ratios(need(made, "kind-in-between")[:200]), seed=bench.seed)
    survey = made.frames.get("kind-in-between") or bench.bare(KINDS["in-between"]).survey

    def real(name: str) -> float:
        return float(ratios(bench.real_of(bench.columns(KINDS[name]), survey, 200).images).mean())

    level = table.real(f"axis-{survey}", lambda: real("in-between"))
    return [
        row(
            "axis ratio of in-between",
            own,
            bench.seed,
            real=level,
            control=table.real(f"axis-round-{survey}", lambda: real("round")),
            goal="within .03 of real",
            met=abs(own.value - level) <= 0.03,
        )
    ]


def frechet(table: Table, made: Made) -> list[Values]:
    """Fréchet distance from training galaxies, and how wide the sample is."""
    bench = table.bench
    teachers, own = table.features(bench.teachers.images), table.features(need(made, "votes"))

    def from_training(features: Floats) -> float:
        return frechet_distance(features, teachers)

    def halves(statistic: Callable[[Floats], float]) -> Estimate:
        """The value of all of them; halves scatter about it as it does about the truth (delete-d jackknife)."""
        value, part = statistic(own), over_subsets(statistic, own, seed=bench.seed, repeats=20)
        low, high = value - (part.value - part.low), value + (part.high - part.value)
        return Estimate(value=value, low=max(0.0, low), high=high, n=len(own))

    def trace(features: Floats) -> float:
        return float(np.trace(np.cov(features.T)))

    distance, width = halves(from_training), halves(trace)
    val = bench.val.images[: len(own)]
    real = table.real(f"frechet-{len(own)}", lambda: from_training(table.features(val)))
    control = table.real(f"frechet-blurred-{len(own)}", lambda: from_training(table.features(blurred(val))))
    level = table.real(f"trace-{len(own)}", lambda: trace(table.features(val)))
    return [
        row(
            f"Fréchet distance, GalaxyEmb, votes, from {len(teachers):,} training galaxies",
            distance,
            bench.seed,
            real=real,
            control=control,
            goal="<= 9.5",
            met=distance.value <= 9.5,
        ),
        row("trace of the covariance, GalaxyEmb, votes", width, bench.seed, real=level),
    ]


def told_apart(table: Table, made: Made) -> list[Values]:
    """Real-or-generated area in GalaxyEmb."""
    bench, found = table.bench, []
    for name, goal in (("votes", 0.54), ("words", None)):
        images = made.get(name)
        if images is None:
            continue
        other = table.features(bench.test.images)

        def against(one: Pixels, other: Floats = other) -> Estimate:
            return c2st(table.features(one), other, seed=bench.seed)

        own = against(images)
        found.append(
            row(
                f"real-or-generated area, GalaxyEmb, {name}",
                own,
                bench.seed,
                real=table.real("area", lambda: against(bench.val.images).value),
                control=table.real("area-blurred", lambda: against(blurred(bench.val.images)).value),
                goal="" if goal is None else f"<= {goal:g}",
                met=None if goal is None else own.value <= goal,
            )
        )
    return found


def pixels(table: Table, made: Made) -> list[Values]:
    """The same with a network trained for the test at full resolution."""
    bench, found = table.bench, []

    for name in ("votes", "words"):
        images = made.get(name)
        if images is None:
            continue
        own = table.pixel_area(images)
        found.append(
            row(
                f"real-or-generated area, small network at full resolution, {name}",
                own,
                bench.seed,
                real=table.real("pixels", lambda: table.pixel_area(bench.val.images).value),
                control=table.real("pixels-blurred", lambda: table.pixel_area(blurred(bench.val.images)).value),
                goal="<= .65",
                met=own.value <= 0.65,
            )
        )
    return found


def coverage(table: Table, made: Made) -> list[Values]:
    """Share of real galaxies with a generated one nearby."""
    bench, found = table.bench, []
    real, val = table.features(bench.test.images), bench.val.images
    for name, goal in (("votes", 0.94), ("words", 0.90)):
        images = made.get(name)
        if images is None:
            continue
        own = prdc(table.features(images), real).coverage
        one = controls.repeated(val, np.random.default_rng(bench.seed))
        found.append(
            row(
                f"coverage, {name}",
                own,
                bench.seed,
                real=table.real("coverage", lambda: prdc(table.features(val), real).coverage.value),
                control=table.real(
                    "coverage-repeated",
                    lambda one=one: prdc(table.features(one), real).coverage.value,  # type: ignore[misc]
                ),
                goal=f">= {goal:.2f}",
                met=own.value >= goal,
            )
        )
    return found


def sharpness(table: Table, made: Made) -> list[Values]:
    """Laplacian energy of spirals over that of real ones."""
    bench, found = table.bench, []
    real = laplacian_energy(bench.spirals.images)
    for name in ("votes", "words"):
        images = made.get(f"spirals-{name}")
        if images is None:
            continue
        own = ratio_of_means(laplacian_energy(images), real[: len(images)], seed=bench.seed)
        found.append(
            row(
                f"Laplacian energy of spirals over real, {name}",
                own,
                bench.seed,
                real=1.0,
                control=table.real(
                    "laplacian-blurred", lambda: laplacian_energy(blurred(bench.spirals.images)).mean() / real.mean()
                ),
                goal=".92 to 1.08",
                met=0.92 <= own.value <= 1.08,
                medians=float(np.median(laplacian_energy(images)) / np.median(real[: len(images)])),
            )
        )
    return found


def spectrum_row(measure: str, images: Pixels, real: Pixels, others: Pixels, seed: int) -> Values:
    """Power in every band to the Nyquist frequency: the largest deviation from real galaxies, dex."""
    spectra = [power_spectra(one) for one in (images, real, others)]
    below = spectra[0].frequency <= 0.5
    own, level, other = (one.log_power("luminance")[:, below] for one in spectra)
    control = power_spectra(blurred(real)).log_power("luminance")[:, below]

    def worst(one: Floats, two: Floats) -> float:
        return float(np.abs(one.mean(axis=0) - two.mean(axis=0)).max())

    found = bootstrap(worst, own, level, seed=seed)
    cycles = spectra[0].frequency[below] * images.shape[1]
    bands = {
        f"{cycle:.1f}": round(float(dex), 4) for cycle, dex in zip(cycles, own.mean(0) - level.mean(0), strict=True)
    }
    return row(
        measure,
        found.model_copy(update={"low": min(found.low, found.value)}),
        seed,
        real=worst(other, level),
        control=worst(control, level),
        goal="<= .05 dex",
        met=found.value <= 0.05,
        dex_by_cycles=bands,
    )


def checkered(images: Pixels, period: int, strength: int = 4) -> Pixels:
    """Images with a faint pattern of squares of half a period: the control of grid peaks."""
    axis = np.arange(images.shape[1]) // max(1, period // 2)
    pattern = ((axis[:, None] + axis) % 2)[..., None] * strength
    found: Pixels = (images.astype(np.int64) + pattern).clip(0, 255).astype(np.uint8)
    return found


def grid_rows(prefix: str, images: Pixels, real: Pixels, seed: int) -> list[Values]:
    """Grid peaks of every period."""
    found = []
    for period in PERIODS:
        own = grid_peaks(images, period, seed=seed)
        level = grid_peaks(real, period, seed=seed, resamples=1).value
        limit = max(2.0, 1.1 * level)
        found.append(
            row(
                f"{prefix}, {period}x{period} px",
                own,
                seed,
                real=level,
                control=grid_peaks(checkered(real, period), period, seed=seed, resamples=1).value,
                goal="<= 2, or real + 10 %",
                met=own.value <= limit,
            )
        )
    return found


def sky_noise(images: Pixels) -> Floats:
    """Deviation of the sky of each picture, mean over its planes, 8-bit steps [N]."""
    planes = images.transpose(0, 3, 1, 2).astype(np.float64)
    return np.array([np.mean([sky(plane)[1] for plane in image]) for image in planes])


def sky_row(measure: str, images: Pixels, real: Pixels, others: Pixels, seed: int) -> Values:
    """Deviation of the sky over that of real galaxies."""
    level = sky_noise(real)
    own = ratio_of_means(sky_noise(images), level, seed=seed)
    return row(
        measure,
        own,
        seed,
        real=float(sky_noise(others).mean() / level.mean()),
        control=float(sky_noise(blurred(real)).mean() / level.mean()),
        goal=".95 to 1.05",
        met=0.95 <= own.value <= 1.05,
    )


def spectrum(table: Table, made: Made) -> list[Values]:
    """Power spectrum of galaxies asked for by votes."""
    bench, images = table.bench, need(made, "votes")
    real = bench.val.images[: len(images)]
    measure = "power spectrum, largest deviation of a band, dex, votes"
    return [spectrum_row(measure, images, real, bench.test.images, bench.seed)]


def grid(table: Table, made: Made) -> list[Values]:
    """Grid peaks of galaxies asked for by votes."""
    images = need(made, "votes")
    return grid_rows("grid peak, votes", images, table.bench.val.images[: len(images)], table.bench.seed)


def sky_deviation(table: Table, made: Made) -> list[Values]:
    """Sky of galaxies asked for by votes."""
    bench, images = table.bench, need(made, "votes")
    real = bench.val.images[: len(images)]
    return [sky_row("sky deviation over real, votes", images, real, bench.test.images, bench.seed)]


def overfilling(table: Table, made: Made) -> list[Values]:
    """Spirals in words that run over the edge of the frame."""
    bench, images = table.bench, need(made, "spirals-words")
    real = bench.spirals.images[: len(images)]
    side = real.shape[1]
    middle = slice(side // 4, side - side // 4)
    close = np.stack([resize(np.ascontiguousarray(one[middle, middle]), side) for one in real])
    own, level = share(overfilled(images)), share(overfilled(real)).value
    return [
        row(
            "frames overfilled (border > 40/255), spirals in words",
            own,
            bench.seed,
            real=level,
            control=share(overfilled(close)).value,
            goal="within .04 of real",
            met=abs(own.value - level) <= 0.04,
        )
    ]


def consistency(table: Table, made: Made) -> list[Values]:
    """Do readers see what was asked for?"""
    bench, images = table.bench, need(made, "votes")
    if made.plain:
        raise InputError("nobody knows what the images were asked to show")
    val = bench.val.take(np.arange(len(images)))

    def reading(one: Pixels) -> Reading:
        return Reading(val.fractions, val.known, table.read(one), bench.tree)

    def mean(values: Floats) -> Estimate:
        return bootstrap(np.mean, values[~np.isnan(values)], seed=bench.seed)

    mine = reading(images)
    own = mean(right_shares(mine))
    level = table.real(f"consistency-{len(images)}", lambda: mean(right_shares(reading(val.images))).value)
    return [
        row(
            "consistency, votes",
            own,
            bench.seed,
            real=level,
            control=mean(right_shares(mine.shuffled(bench.seed))).value,
            goal=">= real - .015",
            met=own.value >= level - 0.015,
        )
    ]


def labelled(sample: Sample) -> GalaxySet:
    """A sample as classifiers learn from it."""
    names = [f"sample:{index}" for index in range(len(sample))]
    return GalaxySet(sample.images, names, fractions=sample.fractions, known=sample.known, survey=sample.survey)


def usefulness(table: Table, made: Made) -> list[Values]:
    """CAS: train on generated, test on real, as a share of training on as many real galaxies of the same votes."""
    bench, images = table.bench, need(made, "votes")
    if made.plain:
        raise InputError("nobody knows what the images were asked to show")
    val = bench.val.take(np.arange(len(images)))
    test = labelled(bench.rest)

    def taught(name: str, sample: Sample) -> Floats:
        source = f"{name} {len(sample)} {bench.seed}"
        folder = bench.cache.place("school", source, table.school.content_hash(), *bench.ground.identity)
        held = labelled(bench.test)
        return classification_accuracy(
            source, labelled(sample), held, test, bench.tree, folder, table.school, seed=bench.seed
        )

    mine = taught(made.key, Sample(images, val.fractions, val.known, val.survey))
    real = taught("real", val)
    both = ~np.isnan(mine) & ~np.isnan(real)
    pairs = np.stack([mine[both], real[both]], axis=1)
    own = bootstrap(lambda one: one[:, 0].mean() / one[:, 1].mean(), pairs, seed=bench.seed)
    asked, known = test.fractions, test.known
    guess = right_shares(Reading(asked, known, np.broadcast_to(asked.mean(axis=0), asked.shape), bench.tree))
    return [
        row(
            "CAS: trained on generated, tested on real, share of real",
            own,
            bench.seed,
            real=1.0,
            control=float(np.nanmean(guess) / real[both].mean()),
            goal=">= .98",
            met=own.value >= 0.98,
            teachers=len(images),
            accuracy_taught_by_real=float(real[both].mean()),
        )
    ]


def memory(table: Table, made: Made) -> list[Values]:
    """Nearest training galaxies: is a generated one nearer than real ones are?"""
    bench, images = table.bench, need(made, "votes")
    held_out = np.concatenate([bench.ground.to_train(one.images) for one in (bench.val, bench.test)])
    threshold = float(np.quantile(held_out, NEAR))
    copies = controls.noisy_copies(bench.teachers.images, min(100, bench.n), np.random.default_rng(bench.seed))
    own = share(bench.ground.to_train(images) < threshold)
    return [
        row(
            "nearest training galaxy: share below the real 1 %",
            own,
            bench.seed,
            real=float((held_out < threshold).mean()),
            control=table.real("copies", lambda: share(bench.ground.to_train(copies) < threshold).value),
            goal="<= .01",
            met=own.value <= NEAR,
            threshold_grey_levels=threshold,
        )
    ]


def shapes_row(table: Table, measure: str, images: Pixels, key: str) -> Values:
    """Distance in Gini, M20 and asymmetry from real galaxies, over that of real galaxies from each other."""
    bench = table.bench
    n = len(images)
    tables = [table.shapes(one) for one in (images, bench.val.images[:n], bench.test.images[:n])]
    control = table.shapes(blurred(bench.val.images[:n]))
    found = {}
    for name in SHAPES:
        mine, floor, reference = (measured_values(one, name) for one in tables)
        real = compare_values(floor, reference, seed=bench.seed, resamples=200).wasserstein
        own = compare_values(mine, reference, seed=bench.seed, resamples=200).wasserstein
        straw = compare_values(measured_values(control, name), reference, seed=bench.seed, resamples=20).wasserstein
        if real is None or own is None or straw is None:
            raise InputError(f"{key}: too few galaxies could be measured")
        found[name] = [own.value / real.value, own.low / real.value, own.high / real.value, straw.value / real.value]
    worst = max(found, key=lambda name: found[name][0])
    value, low, high, straw_man = found[worst]
    return row(
        measure,
        Estimate(value=value, low=low, high=high, n=int(tables[0]["measured"].sum())),
        bench.seed,
        real=1.0,
        control=straw_man,
        goal="<= 1.5",
        met=value <= 1.5,
        worst=worst,
        by_parameter={name: round(values[0], 3) for name, values in found.items()},
    )


def shapes(table: Table, made: Made) -> list[Values]:
    """Gini, M20 and asymmetry of galaxies asked for by votes."""
    return [
        shapes_row(
            table, "Gini, M20, asymmetry: largest distance over real-real, votes", need(made, "votes"), made.name
        )
    ]


MEASURES: tuple[tuple[str, Measure], ...] = (
    ("kinds", kinds),
    ("same-seed", same_seed),
    ("axis-ratio", axis_ratio),
    ("frechet", frechet),
    ("told-apart", told_apart),
    ("coverage", coverage),
    ("sharpness", sharpness),
    ("spectrum", spectrum),
    ("grid", grid),
    ("sky", sky_deviation),
    ("overfilling", overfilling),
    ("consistency", consistency),
    ("memory", memory),
    ("shapes", shapes),
    ("pixels", pixels),
    ("usefulness", usefulness),
)
