"""What people look at: sheets of generated and real galaxies, a shuffled one to count by, and the autoencoder's gate.

In: a `Bench` and the images of a generator, or a model folder. Out: PNG files in a folder, and the rows of the gate.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from generator_rows import (
    Table,
    Values,
    blurred,
    grid_rows,
    row,
    shapes_row,
    sky_row,
    spectrum_row,
)
from generator_samples import SIXTEEN, Bench, Made, Sample, real_sample

from galaxysd.diffusion.autoencoder import to_pixels, to_unit
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.diffusion.folder import load_autoencoder, load_model
from galaxysd.diffusion.pipeline import galaxy_noise
from galaxysd.errors import InputError
from galaxysd.metrics.c2st import c2st
from galaxysd.metrics.frechet import frechet_distance
from galaxysd.metrics.memorization import nearest
from galaxysd.metrics.power_spectrum import mean_spectrum, power_spectra, spectrum_distance
from galaxysd.reports import figures
from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.stats import Estimate, bootstrap, over_subsets
from galaxysd.types import Floats, Ints, Pixels

ACROSS = 16  # galaxies of a kind
SCALE = 2


def everything(bench: Bench) -> list[GalaxyPool]:
    """All galaxies, the withheld kind among them, by split."""
    pixels = bench.cache.place("pixels", *bench.ground.inputs, ())
    return [GalaxyPool(bench.ground.datasets, split, DataSettings(), pixels) for split in ("test", "val", "train")]


def best_real(bench: Bench, pools: Sequence[GalaxyPool], columns: Sequence[str], survey: str | None) -> Pixels:
    """Sixteen real galaxies with some answers: a random choice of the clear ones, else the clearest.

    Held-out galaxies come first. An answer counts by its fraction, 0 where its question is not known; the clearness of
    a galaxy is that of its least clear answer.
    """
    found: list[tuple[float, int, int]] = []
    place = [bench.tree.columns.index(column) for column in columns]
    for number, pool in enumerate(pools):
        clear = pool.fractions[:, place].min(axis=1)
        here = np.ones(len(pool), bool) if survey is None else pool.survey == bench.surveys.index(survey)
        found += [(float(clear[index]), number, int(index)) for index in np.flatnonzero(here & (clear > 0))]
    if len(found) < ACROSS and survey is not None:
        return best_real(bench, pools, columns, None)
    rng = np.random.default_rng(bench.seed)
    sure = [one for one in found if one[0] > 0.5]
    held_out = [one for one in sure if one[1] < 2]
    chosen = held_out if len(held_out) >= ACROSS else sure
    if len(chosen) >= ACROSS:
        chosen = [chosen[index] for index in rng.permutation(len(chosen))[:ACROSS]]
    else:
        chosen = sorted(found, reverse=True)[:ACROSS]
    return np.concatenate([real_sample(pools[number], np.array([index])).images for _, number, index in chosen])


def sheets(bench: Bench, made: Made, folder: Path) -> None:
    """Draw all sheets of a generator."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn, pools = made.get("sheet"), everything(bench)
    if drawn is None:
        raise InputError(f"{made.name}: no images of the set 'sheet'")
    rows = [(prompt, drawn[ACROSS * index :][:ACROSS]) for index, prompt in enumerate(SIXTEEN)]
    real = [(prompt, best_real(bench, pools, bench.columns(prompt), bench.bare(prompt).survey)) for prompt in SIXTEEN]
    label = f"{made.name} ({made.hash}), bare prompts"
    contact_sheet(rows, scale=SCALE, title=label).save(folder / "sixteen-generated.png")
    contact_sheet(real, scale=SCALE, title="real galaxies of the same kinds").save(folder / "sixteen-real.png")
    blind(rows, real, folder, bench.seed)
    images = made.get("withheld")
    if images is not None:
        withheld(bench, images, pools, folder)


def blind(rows: Sequence[tuple[str, Pixels]], real: Sequence[tuple[str, Pixels]], folder: Path, seed: int) -> None:
    """Generated and real galaxies mixed, sixteen to a line, and a key to count by afterwards."""
    cards = [
        (image, prompt, source)
        for source, one in (("generated", rows), ("real", real))
        for prompt, images in one
        for image in images
    ]
    order = np.random.default_rng(seed + 1).permutation(len(cards))
    lines = [order[start : start + ACROSS] for start in range(0, len(order), ACROSS)]
    labelled = [
        (f"line {number}", np.stack([cards[index][0] for index in line])) for number, line in enumerate(lines, start=1)
    ]
    contact_sheet(labelled, scale=SCALE, title="in random order").save(folder / "shuffled.png")
    with (folder / "shuffled-key.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "column", "asked", "source"])
        for number, line in enumerate(lines, start=1):
            writer.writerows([number, column, *cards[index][1:]] for column, index in enumerate(line, start=1))


def withheld(bench: Bench, images: Pixels, pools: Sequence[GalaxyPool], folder: Path) -> None:
    """The kind that training never saw, each above its nearest training galaxy, and the real ones kept from it."""
    pool = bench.ground.pools["train"]
    planes = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    blocks = (pool.images(np.arange(start, min(start + 1024, len(pool)))) for start in range(0, len(pool), 1024))
    found = nearest(planes, blocks)
    twins = real_sample(pool, found.index).images
    rows = []
    for start in range(0, len(images), ACROSS):
        part = slice(start, start + ACROSS)
        apart = found.distance[part]
        rows += [
            ("drawn", images[part]),
            (f"nearest in training, {apart.min():.0f} to {apart.max():.0f} grey levels", twins[part]),
        ]
    left_out = set(bench.ground.pools["train"].withheld) | set(bench.ground.pools["val"].withheld)
    left_out |= set(bench.ground.pools["test"].withheld)
    real = [
        real_sample(one, np.array([index])).images
        for one in pools
        for index, name in enumerate(one.ids)
        if name in left_out
    ][: 2 * ACROSS]
    if real:
        rows.append(("real ones, never seen in training", np.concatenate(real)))
    contact_sheet(rows, columns=ACROSS, scale=SCALE, title="early types with a dust lane").save(folder / "withheld.png")


def reconstruct(model: str, sample: Sample, surveys: Sequence[str], seed: int) -> tuple[str, Pixels, Pixels | None]:
    """Hash of the autoencoder, reconstructions, and reconstructions with grain if the model has it."""
    device = torch.device("cpu")
    grain, tokens = None, None
    try:
        whole = load_model(model, device)
        autoencoder, grain, name = whole.autoencoder, whole.grain, whole.hash
        tokens = whole.denoiser.surveys
    except InputError:
        autoencoder, _, name = load_autoencoder(model, device)
    plain, grained = [], []
    with torch.inference_mode():
        for start in range(0, len(sample), 32):
            part = sample.take(np.arange(start, min(start + 32, len(sample))))
            pixels = torch.from_numpy(np.ascontiguousarray(part.images.transpose(0, 3, 1, 2)))
            decoded = autoencoder.decode(autoencoder.encode(to_unit(pixels)))
            plain.append(to_pixels(decoded).permute(0, 2, 3, 1).numpy())
            if grain is not None and tokens is not None:
                side = part.images.shape[1]
                noise = torch.stack([galaxy_noise(seed + start + row, (3, side))[0] for row in range(len(part))])
                survey = torch.tensor([tokens.index(surveys[one]) for one in part.survey])
                grained.append(to_pixels(grain.add(decoded, survey, noise)).permute(0, 2, 3, 1).numpy())
    return name, np.concatenate(plain), np.concatenate(grained) if grained else None


def of_survey(bench: Bench, pool: GalaxyPool, column: str, survey: str) -> Ints:
    """Galaxies of a survey that have an answer, at most sixteen."""
    if survey not in bench.surveys or column not in bench.tree.columns:
        return np.empty(0, np.int64)
    holds = pool.fractions[:, bench.tree.columns.index(column)] > 0.5
    return np.flatnonzero(holds & (pool.survey == bench.surveys.index(survey)))[:ACROSS]


def gate(table: Table, model: str, folder: Path) -> list[Values]:
    """Judge reconstructions of held-out galaxies, without and with grain, by the gate of the design notes."""
    bench = table.bench
    folder.mkdir(parents=True, exist_ok=True)
    name, plain, grained = reconstruct(model, bench.val, bench.surveys, bench.seed)
    kinds = {"reconstructed": plain} | ({} if grained is None else {"with grain": grained})
    rows: list[Values] = []
    for kind, images in kinds.items():
        rows += table.kept(f"gate-{name}/{kind}", lambda kind=kind, images=images: judge(table, kind, images))
    real = bench.val.images
    spectra = {"real": power_spectra(real), **{kind: power_spectra(images) for kind, images in kinds.items()}}
    means = {kind: mean_spectrum(one) for kind, one in spectra.items()}
    ratios = {kind: spectrum_distance(spectra[kind], spectra["real"], seed=bench.seed).ratio for kind in kinds}
    (folder / "gate-spectra.png").write_bytes(figures.spectra(means, ratios))
    pool = bench.ground.pools["test"]
    shown = {"held-out galaxies": bench.val.take(np.arange(min(ACROSS, len(bench.val))))}
    for label, column in (
        ("dust lanes, efigi", "t08_odd_feature_a38_dust_lane"),
        ("rings, efigi", "t08_odd_feature_a19_ring"),
    ):
        places = of_survey(bench, pool, column, "efigi")
        if len(places):
            shown[label] = real_sample(pool, places)
    lines = []
    for label, sample in shown.items():
        _, without, finished = reconstruct(model, sample, bench.surveys, bench.seed)
        lines += [(label, sample.images), ("reconstructed", without)]
        lines += [] if finished is None else [("with grain", finished)]
    contact_sheet(lines, scale=3, title=f"autoencoder of {model} ({name})").save(folder / "gate.png")
    return rows


def judge(table: Table, kind: str, images: Pixels) -> list[Values]:
    """The numbers of the gate; what the sample is too small for becomes a note."""
    bench, seed = table.bench, table.bench.seed
    real, others, teachers = bench.val.images, bench.test.images, bench.teachers.images
    own, level, reference = (table.features(one) for one in (images, real, others))
    apart = np.sqrt(np.square(images.astype(np.float64) - real).mean(axis=(1, 2, 3)))

    def distance() -> list[Values]:
        trained = table.features(teachers)

        def from_training(features: Floats) -> float:
            return frechet_distance(features, trained)

        value, floor = from_training(own), from_training(level)
        part = over_subsets(from_training, own, seed=seed, repeats=20)
        low, high = (value - (part.value - part.low)) / floor, (value + part.high - part.value) / floor
        ratio = Estimate(value=value / floor, low=low, high=high, n=len(own))
        control = from_training(table.features(blurred(real))) / floor
        name = f"gate, {kind}: Fréchet distance over real-real"
        return [row(name, ratio, seed, real=1.0, control=control, goal="<= 1.3", met=ratio.value <= 1.3)]

    def embedded() -> list[Values]:
        area = c2st(own, reference, seed=seed)
        floor = c2st(level, reference, seed=seed).value
        return [row(f"gate, {kind}: real-or-reconstructed area, GalaxyEmb", area, seed, real=floor)]

    def at_full_resolution() -> list[Values]:
        area, floor = table.pixel_area(images), table.real("pixels", lambda: table.pixel_area(real).value)
        name = f"gate, {kind}: real-or-reconstructed area, small network at full resolution"
        return [row(name, area, seed, real=floor, goal="<= .65", met=area.value <= 0.65)]

    def rms() -> list[Values]:
        return [row(f"gate, {kind}: rms difference, grey levels", bootstrap(np.mean, apart, seed=seed), seed)]

    measures: dict[str, Callable[[], list[Values]]] = {
        "rms difference": rms,
        "Fréchet distance": distance,
        "area, GalaxyEmb": embedded,
        "area, small network": at_full_resolution,
        "power spectrum": lambda: [
            spectrum_row(f"gate, {kind}: power spectrum, largest deviation of a band, dex", images, real, others, seed)
        ],
        "grid peaks": lambda: grid_rows(f"gate, {kind}: grid peak", images, real, seed),
        "sky": lambda: [sky_row(f"gate, {kind}: sky deviation over real", images, real, others, seed)],
        "shapes": lambda: [
            shapes_row(table, f"gate, {kind}: Gini, M20, asymmetry, largest distance over real-real", images, kind)
        ],
    }
    rows = []
    for name, measure in measures.items():
        try:
            rows += measure()
        except InputError as error:
            rows.append(row(f"gate, {kind}: {name}", None, seed, note=str(error)))
    return rows
