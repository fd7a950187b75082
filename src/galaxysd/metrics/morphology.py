"""Physical morphology of galaxy images, and the comparison of two tables of measurements.

In: uint8 images [N, S, S, 3]. Out: a table with a row per image: concentration, asymmetry, smoothness (Conselice 2003),
Gini and M20 (Lotz et al. 2004), ellipticity, half-light radius and Sersic index, measured by statmorph (Rodriguez-Gomez
et al. 2019). Two tables give a Kolmogorov-Smirnov and a Wasserstein distance per parameter.

The images are asinh-stretched 8-bit composites, so these are parameters of the displayed picture, not of the flux: a
stretched de Vaucouleurs profile has a Sersic index near 1. Real and generated images are measured by the same rule.
"""

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field
from rich.console import Console
from rich.progress import Progress
from scipy.ndimage import gaussian_filter
from scipy.stats import ks_2samp, wasserstein_distance

from galaxysd.errors import InputError
from galaxysd.settings import FrozenModel
from galaxysd.stats import Estimate, TooFewGalaxies, bootstrap, share
from galaxysd.types import Floats, Pixels

PARAMETERS = {  # column: attribute of statmorph
    "concentration": "concentration",
    "asymmetry": "asymmetry",
    "smoothness": "smoothness",
    "gini": "gini",
    "m20": "m20",
    "ellipticity": "ellipticity_asymmetry",
    "half_light_radius": "rhalf_circ",  # px
    "sersic_index": "sersic_n",
}
SCHEMA = dict.fromkeys(PARAMETERS, pl.Float64) | {"flag": pl.Int64, "measured": pl.Boolean, "reason": pl.String}

THRESHOLD = 1.5  # deviations of the sky above which a pixel of the smoothed image belongs to a source
SMOOTHING = 1.0  # px, deviation of the Gaussian before detection
LEAST_PIXELS = 10  # of a source
CONTRAST = 0.05  # share of a blend's light from which a peak becomes a source of its own
ROUNDING = 1 / 6  # deviation of the mean of three planes that were rounded to whole steps
SATURATED = 0.1  # share of pixels at full scale from which a picture shows no profile
SUSPECT = 1  # statmorph's largest flag of a usable measurement; 2 is bad, 4 catastrophic
CHUNK = 16  # images handed to a process at a time


class NotMeasurable(Exception):
    """One image without a galaxy that can be measured; the message says why."""


def luminance(images: Pixels) -> Floats:
    """Mean of the three planes, float64 [..., S, S] in 8-bit steps, of uint8 [..., S, S, 3].

    The composites stretch the mean of the bands and keep their ratios (Lupton et al. 2004, eq. 2), so the mean of the
    planes is the stretched mean band, and equal weights are the ones that belong to it.
    """
    mean: Floats = images.mean(axis=-1, dtype=np.float64)
    return mean


def sky(plane: Floats) -> tuple[float, float]:
    """Level and deviation of the sky of a plane [S, S]: sigma-clipped median and deviation of its two darkest corners.

    Large galaxies cross the edges of the frame but rarely two of its corners, so the whole border would count their
    light as sky. A corner is a square of 5/32 of the side.
    """
    from astropy.stats import sigma_clipped_stats

    side = max(2, len(plane) * 5 // 32)
    ends = (slice(side), slice(-side, None))
    corners = [plane[rows, columns].ravel() for rows in ends for columns in ends]
    corners.sort(key=lambda corner: (np.median(corner), corner.mean()))
    _, level, deviation = sigma_clipped_stats(data=np.concatenate(corners[:2]), sigma=3.0)
    return float(level), float(deviation)


def measure_morphology(images: Pixels, *, workers: int | None = None) -> pl.DataFrame:
    """Measure every image.

    Args:
        images: uint8 [N, S, S, 3], S at least 32 px.
        workers: processes; None: one per core. A script that asks for more than one needs the usual
            `if __name__ == "__main__"`, since processes are spawned.

    Returns:
        N rows in the order of the images: the columns of `PARAMETERS` (null where there is no value; the Sersic index
        is also null where its fit did not converge), `flag` (statmorph: 0 good, 1 suspect, 2 bad, 4 catastrophic; null
        where it never got that far), `measured`, and `reason` where it is false.

    Raises:
        InputError: the images are not of that shape.
    """
    images = as_images(images, least=32)
    chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    workers = min(workers or os.cpu_count() or 1, max(len(chunks), 1))
    rows: list[dict[str, Any]] = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("measuring galaxies", total=len(images))
        for found in _in_processes(chunks, workers):
            rows.extend(found)
            progress.advance(bar, len(found))
    return pl.DataFrame(rows, schema=SCHEMA)


def as_images(images: npt.ArrayLike, *, least: int = 1) -> Pixels:
    """Images as they are, if they are uint8 [N, S, S, 3] with S of at least `least` px.

    Raises:
        InputError: they are not.
    """
    found = np.asarray(images)
    square = found.ndim == 4 and found.shape[1] == found.shape[2] >= least and found.shape[3] == 3
    if found.dtype != np.uint8 or not square:
        want = f"uint8 of shape [n, side, side, 3], side at least {least}"
        raise InputError(f"images: {found.dtype} of shape {list(found.shape)}; expected {want}")
    return found


def _in_processes(chunks: Sequence[Pixels], workers: int) -> Iterator[list[dict[str, Any]]]:
    """The rows of each chunk, in order."""
    if workers == 1:
        yield from map(_measure_chunk, chunks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_use_one_thread) as pool:
        yield from pool.map(_measure_chunk, chunks)


def _use_one_thread() -> None:
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1)


def _measure_chunk(images: Pixels) -> list[dict[str, Any]]:
    return [_row(image) for image in images]


def _row(image: Pixels) -> dict[str, Any]:
    """One row of the table; whatever goes wrong inside a measurement is a reason, not an error."""
    empty = dict.fromkeys(SCHEMA) | {"measured": False}
    try:
        plane, segments, label, deviation = _source(image)
        values, flag, complaint = _parameters(plane, segments, label, deviation)
    except NotMeasurable as error:
        return empty | {"reason": str(error)}
    except Exception as error:  # fits and root finders of odd galaxies raise many kinds
        return empty | {"reason": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    if flag > SUSPECT:
        return empty | {"flag": flag, "reason": complaint}
    return {**empty, **values, "flag": flag, "measured": True}


def _source(image: Pixels) -> tuple[Floats, Any, int, float]:
    """The galaxy of an image: sky-subtracted plane, segments, label of the galaxy, deviation of the sky.

    Raises:
        NotMeasurable: there is none.
    """
    from photutils.segmentation import deblend_sources, detect_sources

    plane = luminance(image)
    if np.ptp(plane) == 0:
        raise NotMeasurable("all pixels are equal")
    if (image.max(axis=-1) == 255).mean() > SATURATED:
        raise NotMeasurable(f"more than {SATURATED:.0%} of the pixels are saturated")
    level, deviation = sky(plane)
    deviation = max(deviation, ROUNDING)
    plane = plane - level
    smooth = gaussian_filter(plane, SMOOTHING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "no sources found" and blends that cannot be parted
        segments = detect_sources(data=smooth, threshold=THRESHOLD * deviation, n_pixels=LEAST_PIXELS)
        if segments is None:
            raise NotMeasurable("no source above the sky")
        segments = deblend_sources(
            data=smooth,
            segmentation_image=segments,
            n_pixels=LEAST_PIXELS,
            n_levels=16,
            contrast=CONTRAST,
            mode="sinh",
            progress_bar=False,
        )
    return plane, segments, _central_label(segments.data, smooth), deviation


def _central_label(segments: npt.NDArray[np.integer[Any]], smooth: Floats) -> int:
    """Label of the source whose nearest pixel is nearest to the centre; the brighter pixel decides between equals.

    Raises:
        NotMeasurable: it is further than an eighth of the side away.
    """
    rows, columns = np.nonzero(segments)
    middle = (len(segments) - 1) / 2
    away = np.hypot(rows - middle, columns - middle).round(6)
    nearest = np.lexsort((-smooth[rows, columns], away))[0]
    if away[nearest] > len(segments) / 8:
        raise NotMeasurable("no source near the centre")
    return int(segments[rows[nearest], columns[nearest]])


def _parameters(
    plane: Floats, segments: Any, label: int, deviation: float
) -> tuple[dict[str, float | None], int, str | None]:
    """Parameters, flag, and what statmorph complained about where the flag is bad.

    The noise is taken as even (the stretch has removed Poisson's law), so the Sersic fit is one of least squares.
    It costs a tenth of the 0.2 s of a 64 px galaxy, of which finding the centre of least asymmetry takes half.
    """
    from statmorph import SourceMorphology

    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        found = SourceMorphology(
            image=plane,
            segmap=segments,
            label=label,
            weightmap=np.full_like(plane, deviation),
            skybox_size=max(4, len(plane) // 8),
            niter_bh_mid=1,  # of the multimode statistic, which is not used
        )
    flag = int(found.flag)
    complaints = [text for text in (str(one.message) for one in caught) if not text.startswith("[sersic]")]
    complaint = None if flag <= SUSPECT else f"statmorph flag {flag}" + "".join(f": {text}" for text in complaints[:1])
    values: dict[str, float | None] = {name: float(getattr(found, source)) for name, source in PARAMETERS.items()}
    if found.flag_sersic > SUSPECT:
        values["sersic_index"] = None
    bad = [name for name, value in values.items() if value is not None and not np.isfinite(value)]
    if bad and complaint is None:
        raise NotMeasurable(f"{bad[0]} is not a finite number")
    return values, flag, complaint


class ParameterComparison(FrozenModel):
    """How two samples differ in one parameter."""

    ks: Estimate | None = Field(description="Kolmogorov-Smirnov statistic; null where there are too few galaxies")
    wasserstein: Estimate | None = Field(description="1-D Wasserstein distance, deviations of the real sample")
    shift: Estimate | None = Field(
        description="mean of the generated minus the real one, deviations of the real sample"
    )
    n_generated: int = Field(ge=0, description="generated galaxies with a value")
    n_real: int = Field(ge=0, description="real galaxies with a value")
    note: str | None = Field(default=None, description="why there is no distance")


class TableComparison(FrozenModel):
    """How two tables of measurements differ."""

    parameters: dict[str, ParameterComparison]
    failed_generated: Estimate = Field(description="share of generated images that could not be measured")
    failed_real: Estimate = Field(description="share of real images that could not be measured")
    seed: int = Field(ge=0)


def compare_tables(
    generated: pl.DataFrame, real: pl.DataFrame, parameters: Sequence[str], *, seed: int, resamples: int = 1000
) -> TableComparison:
    """Compare two tables that have `measured` and the named columns; real against real is the real baseline.

    Args:
        generated: a row per generated image.
        real: a row per real image.
        parameters: columns to compare; rows that were not measured, nulls and NaN are left out.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        InputError: a column is missing.
        TooFewGalaxies: a table is empty.
    """
    for name, table in (("generated", generated), ("real", real)):
        missing = [column for column in ("measured", *parameters) if column not in table.columns]
        if missing:
            raise InputError(f"{name}: no column {missing[0]!r}; it has {', '.join(table.columns)}")
    return TableComparison(
        parameters={
            name: compare_values(
                measured_values(generated, name), measured_values(real, name), seed=seed, resamples=resamples
            )
            for name in parameters
        },
        failed_generated=share(~generated["measured"].to_numpy()),
        failed_real=share(~real["measured"].to_numpy()),
        seed=seed,
    )


def measured_values(table: pl.DataFrame, parameter: str) -> Floats:
    """The finite values of a parameter, of measured rows only, float64 [n]."""
    column = table.filter("measured")[parameter].drop_nulls().cast(pl.Float64).to_numpy()
    finite: Floats = column[np.isfinite(column)]
    return finite


def compare_values(generated: Floats, real: Floats, *, seed: int, resamples: int = 1000) -> ParameterComparison:
    """Compare values [M] with values [N]; the unit of `wasserstein` and `shift` is the deviation of the real ones."""
    unit = float(np.std(real)) if len(real) else 0.0
    ks = wasserstein = shift = note = None
    try:
        if len(real) > 1 and unit == 0:
            raise TooFewGalaxies("real: all values are equal, which gives no unit of distance")
        pair = [sample / (unit or 1.0) for sample in (generated, real)]
        ks = bootstrap_distance(_ks, *pair, seed=seed, resamples=resamples)
        wasserstein = bootstrap_distance(_wasserstein, *pair, seed=seed, resamples=resamples)
        shift = bootstrap(_shift, *pair, seed=seed, resamples=resamples)
    except TooFewGalaxies as error:
        note = str(error)
    return ParameterComparison(
        ks=ks, wasserstein=wasserstein, shift=shift, n_generated=len(generated), n_real=len(real), note=note
    )


def bootstrap_distance(
    distance: Callable[..., float], generated: Floats, real: Floats, *, seed: int, resamples: int
) -> Estimate:
    """A distance of two samples with its percentile interval, which is widened downwards to hold the value.

    Resampled galaxies are further apart than the galaxies themselves, since the noise of the draw adds to the distance:
    near zero all of them can lie above the value.

    Raises:
        TooFewGalaxies: a sample has fewer than 10.
    """
    found = bootstrap(distance, generated, real, seed=seed, resamples=resamples)
    return found.model_copy(update={"low": min(found.low, found.value)})


def _ks(generated: Floats, real: Floats) -> float:
    return float(ks_2samp(generated, real, method="asymp").statistic)


def _wasserstein(generated: Floats, real: Floats) -> float:
    return float(wasserstein_distance(generated, real))


def _shift(generated: Floats, real: Floats) -> float:
    return float(generated.mean() - real.mean())
