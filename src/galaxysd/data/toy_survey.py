"""The toy survey: drawn galaxies of known truth with votes like Galaxy Zoo 2, for tests and a first training run.

A seed goes in; `images/*.png`, `votes.csv` (columns of Hart et al. 2016) and `truth.parquet` come out. Shapes are
standard profiles: Sersic (1963) ellipticals and bulges, exponential disks, logarithmic arms, superelliptic bars,
Gaussian rings, dust that absorbs exp(-tau), a Gaussian point-spread function and sky noise. Nothing is
downloaded; it teaches a network the tree, not the sky.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.ndimage import gaussian_filter

from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.decode import encode_png
from galaxysd.errors import InputError
from galaxysd.io import replacing
from galaxysd.types import Pixels

Plane = npt.NDArray[np.floating[Any]]

OLD = np.array([1.0, 0.80, 0.58], np.float32)  # colours: red, green, blue light of a population
MIDDLE = np.array([0.90, 0.85, 0.78], np.float32)
YOUNG = np.array([0.62, 0.80, 1.0], np.float32)
ABSORPTION = np.array([0.7, 1.0, 1.35], np.float32)  # dust takes blue light first

OVERSAMPLING = 2
CLASSIFICATIONS = 42  # per galaxy in the mean, as in Galaxy Zoo 2

PITCH = {"a28_tight": 11.0, "a29_medium": 20.0, "a30_loose": 33.0}  # degrees
ARMS = {"a31_1": 1, "a32_2": 2, "a33_3": 3, "a34_4": 4, "a36_more_than_4": 6}
BULGE = {"a10_no_bulge": 0.0, "a11_just_noticeable": 0.1, "a12_obvious": 0.25, "a13_dominant": 0.5}  # share of light
AXIS_RATIO = {"a16_completely_round": (0.9, 1.0), "a17_in_between": (0.5, 0.75), "a18_cigar_shaped": (0.2, 0.32)}
SIZE = {"smooth": 0.16, "edge_on": 0.13, "disk": 0.13, "spiral": 0.14}  # of the frame: effective radius or disk scale
KINDS = {"smooth": 0.3, "edge_on": 0.2, "disk": 0.12, "spiral": 0.38}  # mix of the survey


@dataclass(frozen=True)
class Galaxy:
    """The truth about one galaxy. Lengths in units of the frame, angles in radians.

    Attributes:
        kind: `smooth`, `edge_on`, `disk` (no arms) or `spiral`.
        scale: effective radius (smooth) or disk scale length.
        angle: position angle.
        axis_ratio: minor to major axis on the sky.
        roundness, bulge, bulge_shape, winding, arms: Galaxy Zoo 2 answers, where the kind has them.
        bar: has a bar.
        odd: answer about the odd feature: ring, merger, dust lane, irregular, or None.
        phase: where the arms start.
        mirrored: arms wind the other way.
        clarity: chance that a volunteer sees the truth.
    """

    kind: str
    scale: float
    angle: float
    axis_ratio: float
    roundness: str | None = None
    bulge: str | None = None
    bulge_shape: str | None = None
    winding: str | None = None
    arms: str | None = None
    bar: bool = False
    odd: str | None = None
    phase: float = 0.0
    mirrored: bool = False
    clarity: float = 0.9


def random_galaxy(rng: np.random.Generator, kind: str | None = None) -> Galaxy:
    """Draw a galaxy of a kind, or of the survey's mix."""
    kind = kind or _choice(rng, KINDS)
    galaxy = Galaxy(
        kind=kind,
        scale=SIZE[kind] * rng.uniform(0.85, 1.2),
        angle=rng.uniform(0, np.pi),
        axis_ratio=rng.uniform(0.65, 1.0),
        phase=rng.uniform(0, 2 * np.pi),
        mirrored=bool(rng.random() < 0.5),
        clarity=rng.uniform(0.8, 0.97),
    )
    if kind == "smooth":
        roundness = _choice(rng, dict.fromkeys(AXIS_RATIO, 1.0))
        odd = _choice(rng, {"": 0.75, "a24_merger": 0.15, "a38_dust_lane": 0.1})
        return replace(galaxy, roundness=roundness, axis_ratio=rng.uniform(*AXIS_RATIO[roundness]), odd=odd or None)
    if kind == "edge_on":
        shape = _choice(rng, {"a25_rounded": 0.45, "a26_boxy": 0.1, "a27_no_bulge": 0.45})
        odd = _choice(rng, {"": 0.7, "a38_dust_lane": 0.3})
        thin, thick = (0.13, 0.2) if odd else (0.07, 0.12)  # dust needs light behind it to be seen
        return replace(galaxy, axis_ratio=rng.uniform(thin, thick), bulge_shape=shape, odd=odd or None)
    bulge = _choice(rng, {"a10_no_bulge": 0.1, "a11_just_noticeable": 0.3, "a12_obvious": 0.45, "a13_dominant": 0.15})
    galaxy = replace(galaxy, bulge=bulge, bar=bool(rng.random() < 0.35))
    if kind == "disk":
        odd = _choice(rng, {"": 0.4, "a19_ring": 0.35, "a22_irregular": 0.25})
        return replace(galaxy, odd=odd or None)
    arms = _choice(rng, {"a31_1": 0.08, "a32_2": 0.5, "a33_3": 0.14, "a34_4": 0.14, "a36_more_than_4": 0.14})
    odd = _choice(rng, {"": 0.88, "a24_merger": 0.12})
    return replace(galaxy, arms=arms, winding=_choice(rng, dict.fromkeys(PITCH, 1.0)), odd=odd or None)


def render(galaxy: Galaxy, rng: np.random.Generator, size: int = 64) -> Pixels:
    """Draw a galaxy as a telescope would show it.

    Args:
        galaxy: the truth.
        rng: for the centre, the companion of a merger, clumps and noise.
        size: side, px.

    Returns:
        uint8 `[size, size, 3]`.
    """
    fine = size * OVERSAMPLING
    axis = (np.arange(fine, dtype=np.float32) + 0.5) / fine - 0.5
    x, y = np.meshgrid(axis - rng.normal(0, 0.008), axis - rng.normal(0, 0.008))
    light = _light(galaxy, x, y, rng)
    if galaxy.odd == "a24_merger":
        away, bearing = rng.uniform(0.17, 0.24), rng.uniform(0, 2 * np.pi)
        dx, dy = away * np.cos(bearing), away * np.sin(bearing)
        light = light + rng.uniform(0.5, 1.0) * _light(_companion(galaxy, rng), x - dx, y - dy, rng)
        along = (x * dx + y * dy) / away
        bridge = np.exp(-0.5 * ((along - away / 2) / (0.6 * away)) ** 2)
        bridge *= np.exp(-0.5 * ((x * dy - y * dx) / away / 0.035) ** 2)
        light += 0.12 * bridge[..., None] * MIDDLE
    seeing = gaussian_filter(light, sigma=(0.9 * OVERSAMPLING, 0.9 * OVERSAMPLING, 0))
    seen = seeing.reshape(size, OVERSAMPLING, size, OVERSAMPLING, 3).mean(axis=(1, 3))
    grain = gaussian_filter(rng.normal(0, 1, (size, size, 3)).astype(np.float32), sigma=(0.45, 0.45, 0))
    seen = seen + 0.012 * grain * rng.uniform(0.7, 1.3)
    shown = 0.06 + 0.9 * np.arcsinh(seen * 6) / np.arcsinh(6.0)
    pixels: Pixels = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    return pixels


def make_toy_survey(out: str | Path, n: int, seed: int, size: int = 64) -> Path:
    """Write a toy survey.

    Args:
        out: folder to write; must not exist or be empty.
        n: number of galaxies.
        seed: same seed, same survey.
        size: side of the images, px.

    Returns:
        The folder with `images/`, `votes.csv` and `truth.parquet`.

    Raises:
        InputError: n is not positive, or the folder exists with content.
    """
    out = Path(out)
    if n < 1:
        raise InputError(f"toy survey: n = {n}; expected at least 1 galaxy")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists with other content; choose another folder")
    rng = np.random.default_rng(seed)
    galaxies = [random_galaxy(rng) for _ in range(n)]
    ids = [f"{900_000_000_000_000_000 + seed * 1_000_000 + index}" for index in range(n)]
    files = [f"toy-{index:06d}.png" for index in range(n)]
    head: dict[str, list[str] | npt.NDArray[np.float64]] = {
        "dr7objid": ids,
        "ra": rng.uniform(110, 260, n).round(6),
        "dec": np.degrees(np.arcsin(rng.uniform(0, 0.9, n))).round(6),
        "sample": ["toy"] * n,
        "file": files,
    }
    with replacing(out, folder=True) as folder:
        (folder / "images").mkdir()
        for file, galaxy in zip(files, galaxies, strict=True):
            (folder / "images" / file).write_bytes(encode_png(render(galaxy, rng, size)))
        pl.DataFrame({**head, **_votes(galaxies, rng)}).write_csv(folder / "votes.csv")
        truth = pl.DataFrame([{"id": name, **asdict(galaxy)} for name, galaxy in zip(ids, galaxies, strict=True)])
        truth.write_parquet(folder / "truth.parquet")
    return out


def _choice(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    share = np.array(list(weights.values()))
    return str(list(weights)[rng.choice(len(share), p=share / share.sum())])


def _companion(galaxy: Galaxy, rng: np.random.Generator) -> Galaxy:
    other = random_galaxy(rng, "smooth")
    return replace(other, odd=None, roundness=None, axis_ratio=rng.uniform(0.55, 1), scale=0.7 * galaxy.scale)


def _light(galaxy: Galaxy, x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    """Surface brightness `[H, W, 3]`, about 1 at the centre."""
    across = np.float32(np.cos(galaxy.angle)) * x + np.float32(np.sin(galaxy.angle)) * y
    up = np.float32(np.cos(galaxy.angle)) * y - np.float32(np.sin(galaxy.angle)) * x
    if galaxy.kind == "smooth":
        light = _sersic(np.hypot(across, up / galaxy.axis_ratio) * np.sqrt(galaxy.axis_ratio), galaxy.scale, 3.5)
        light = 2.0 * light * OLD
    elif galaxy.kind == "edge_on":
        light = _edge_on(galaxy, across, up)
    else:
        light = _disk(galaxy, across, (-up if galaxy.mirrored else up) / galaxy.axis_ratio, rng)
    if galaxy.odd == "a38_dust_lane":
        # wide enough to survive the seeing, a little off the middle, and as long as the galaxy is bright
        width = 0.017 if galaxy.kind == "smooth" else 0.011
        lane = np.exp(-0.5 * ((up - 0.006) / width) ** 2) * np.exp(-((across / (2.2 * galaxy.scale)) ** 4))
        light = light * np.exp(-2.6 * lane[..., None] * ABSORPTION)
    return light.astype(np.float32)


def _sersic(r: Plane, effective: float, index: float) -> Plane:
    """Sersic profile, 1 at a tenth of the effective radius and flat inside; r and effective in the same unit."""
    b = 2 * index - 1 / 3  # Ciotti & Bertin 1999, to first order
    power = (np.maximum(r, 0.1 * effective) / effective) ** np.float32(1 / index)
    profile: Plane = np.exp(-b * (power - 0.1 ** (1 / index)))[..., None]
    return profile


def _edge_on(galaxy: Galaxy, across: Plane, up: Plane) -> Plane:
    height = galaxy.axis_ratio * galaxy.scale * 1.3
    disk = np.exp(-np.abs(across) / galaxy.scale) / np.cosh(np.clip(up / height, -30, 30)) ** 2
    light: Plane = 0.75 * disk[..., None] * MIDDLE
    if galaxy.bulge_shape == "a25_rounded":
        light = light + _sersic(np.hypot(across, up / 0.85), 0.42 * galaxy.scale, 1.5) * OLD
    if galaxy.bulge_shape == "a26_boxy":
        r = (across**4 + (up / 0.8) ** 4) ** 0.25
        light = light + _sersic(r, 0.5 * galaxy.scale, 0.8) * OLD
    return light


def _disk(galaxy: Galaxy, across: Plane, up: Plane, rng: np.random.Generator) -> Plane:
    """A disk seen from above, in coordinates of its own plane."""
    r = np.hypot(across, up)
    scale = galaxy.scale
    bulge = BULGE[galaxy.bulge or "a10_no_bulge"]
    bar_end = 1.0 * scale if galaxy.bar else 0.35 * scale  # where arms begin
    smooth = np.exp(-r / scale)
    light = 0.5 * smooth[..., None] * MIDDLE
    if galaxy.arms is not None and galaxy.winding is not None:
        number, pitch = ARMS[galaxy.arms], np.radians(PITCH[galaxy.winding])
        start = 0.0 if galaxy.bar else galaxy.phase
        spiral = np.arctan2(up, across) - np.log(np.maximum(r, 1e-4) / bar_end) / np.tan(pitch) - start
        sharp = np.exp(3.0 * (np.cos(spiral * number) - 1) / max(1.0, number / 3))
        if number == 1:
            sharp = np.exp(5.0 * (np.cos(spiral) - 1))
        taper = 1 / (1 + np.exp(-(r - 0.8 * bar_end) / (0.12 * scale)))
        light = 0.4 * light + 1.1 * (np.exp(-r / (1.25 * scale)) * sharp * taper)[..., None] * YOUNG
    if galaxy.odd == "a19_ring":
        ring = np.exp(-0.5 * ((r - 1.75 * scale) / (0.2 * scale)) ** 2)
        light = 0.45 * light * (1 - 0.8 * ring[..., None]) + 0.42 * ring[..., None] * YOUNG
    if galaxy.odd == "a22_irregular":
        light = 0.5 * light
        for _ in range(7):
            dx, dy = rng.normal(0, 0.8 * scale, 2)
            width = rng.uniform(0.2, 0.45) * scale
            clump = np.exp(-0.5 * ((across - dx) ** 2 + (up - dy) ** 2) / width**2)
            light = light + rng.uniform(0.15, 0.45) * clump[..., None] * YOUNG
    if galaxy.bar:
        bar = np.exp(-((np.abs(across) / bar_end) ** 4)) * np.exp(-0.5 * (up / (0.16 * scale)) ** 2)
        light = light + 0.45 * bar[..., None] * OLD
    if bulge:
        light = light + _sersic(r, (0.2 + 0.9 * bulge) * scale, 1.5) * (0.35 + bulge) * 1.2 * OLD
    return light


def _truth(galaxy: Galaxy) -> dict[str, str | None]:
    """The right answer to every question of `gz2`; None where it has none."""
    return {
        "t01_smooth_or_features": "a01_smooth" if galaxy.kind == "smooth" else "a02_features_or_disk",
        "t02_edgeon": "a04_yes" if galaxy.kind == "edge_on" else "a05_no",
        "t03_bar": "a06_bar" if galaxy.bar else "a07_no_bar",
        "t04_spiral": "a08_spiral" if galaxy.kind == "spiral" else "a09_no_spiral",
        "t05_bulge_prominence": galaxy.bulge,
        "t06_odd": "a14_yes" if galaxy.odd else "a15_no",
        "t07_rounded": galaxy.roundness,
        "t08_odd_feature": galaxy.odd,
        "t09_bulge_shape": galaxy.bulge_shape,
        "t10_arms_winding": galaxy.winding,
        "t11_arms_number": galaxy.arms,
    }


def _votes(galaxies: list[Galaxy], rng: np.random.Generator) -> dict[str, npt.NDArray[np.float64]]:
    """Six columns per answer: N volunteers walk down the tree and mostly see the truth.

    `debiased` scatters by 5 % around the weighted fraction, so that, as in the real table, it does not sum to one;
    `flag` is debiased > 0.8, as measured there.
    """
    tree = DecisionTree.load("gz2")
    n = len(galaxies)
    volunteers = rng.poisson(CLASSIFICATIONS, n)
    counts: dict[str, npt.NDArray[np.int64]] = {}
    columns: dict[str, npt.NDArray[np.float64]] = {"total_classifications": volunteers.astype(np.float64)}
    truths = [_truth(galaxy) for galaxy in galaxies]
    for question in tree.questions:
        asked = (
            sum((counts[parent] for parent in question.after), np.zeros(n, np.int64)) if question.after else volunteers
        )
        chances = np.empty((n, len(question.answers)))
        for row, (galaxy, truth) in enumerate(zip(galaxies, truths, strict=True)):
            right = truth[question.key]
            hit = np.array([answer == right for answer in question.answers])
            chances[row] = np.where(hit, galaxy.clarity, (1 - galaxy.clarity) / (hit.size - 1))
            if not hit.any():  # the few who come here by mistake guess
                chances[row] = 1 / hit.size
        votes = rng.multinomial(asked, chances)
        counts |= dict(zip(question.columns, votes.T, strict=True))
    for question in tree.questions:
        votes = np.stack([counts[name] for name in question.columns], axis=1)
        weights = votes * rng.uniform(0.95, 1.0, votes.shape)
        weighted = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
        fraction = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)
        debiased = np.clip(weighted * rng.normal(1, 0.05, votes.shape), 0, 1)
        for index, name in enumerate(question.columns):
            columns[f"{name}_count"] = votes[:, index].astype(np.float64)
            columns[f"{name}_weight"] = weights[:, index].round(4)
            columns[f"{name}_fraction"] = fraction[:, index].round(4)
            columns[f"{name}_weighted_fraction"] = weighted[:, index].round(4)
            columns[f"{name}_debiased"] = debiased[:, index].round(4)
            columns[f"{name}_flag"] = (debiased[:, index] > 0.8).astype(np.float64)
    return columns
