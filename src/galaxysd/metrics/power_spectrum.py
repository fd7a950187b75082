"""Power spectra of images: how much light there is on every scale, from the galaxy's body to the grain of the sky.

In: uint8 images [N, S, S, 3]. Out: azimuthally averaged spectra in logarithmic bins of frequency, of the luminance and
of every band, their mean, and the distance between two sets of images.

Power is that of a periodogram under a Hann window w (Welch 1967), |FFT(w (x - mean))|^2 / sum w^2, in squared 8-bit
steps: white noise of variance v has power v at every frequency from 1.4 / S on (taking off the mean takes from the
lowest), and the mean over all modes is the windowed variance.
"""

from dataclasses import dataclass

import numpy as np

from galaxysd.errors import InputError
from galaxysd.metrics.morphology import as_images, bootstrap_distance, luminance
from galaxysd.stats import LEAST, Estimate, TooFewGalaxies
from galaxysd.types import Floats, Pixels

PLANES = ("luminance", "red", "green", "blue")  # the colours of an SDSS composite are the bands i, r, g
ROUNDING = 1 / 12  # power of rounding to whole 8-bit steps; keeps the logarithm of a black image finite
BLOCK = 128  # images transformed at once
Z = 1.96  # deviations of the 95 % interval of a mean


@dataclass(frozen=True)
class Spectra:
    """Spectra of N images.

    Attributes:
        frequency: mean of each bin, cycles per px [F].
        modes: modes in each bin [F]; all S^2 - 1 but the mean are in one.
        power: squared 8-bit steps [N, 4, F], planes as in `PLANES`.
    """

    frequency: Floats
    modes: Floats
    power: Floats

    def log_power(self, plane: str) -> Floats:
        """log10 of power and rounding noise of one plane [N, F]."""
        found: Floats = np.log10(self.power[:, PLANES.index(plane)] + ROUNDING)
        return found


@dataclass(frozen=True)
class Curve:
    """A function of frequency with its 95 % interval.

    Attributes:
        frequency: cycles per px [F].
        value, low, high: [F].
    """

    frequency: Floats
    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class SpectrumDistance:
    """How two sets of images differ in one plane.

    Attributes:
        distance: root mean square over the bins of the difference of mean log10 power, dex.
        ratio: mean power (geometric) of the generated images over that of the real ones.
    """

    distance: Estimate
    ratio: Curve


def power_spectra(images: Pixels, *, bins: int = 14) -> Spectra:
    """Spectrum of every image.

    Args:
        images: uint8 [N, S, S, 3].
        bins: from 1 / S to the highest frequency, 1 / sqrt(2) in the corners; those without a mode are left out.

    Raises:
        InputError: the images are not of that shape.
    """
    images = as_images(images, least=8)
    side = images.shape[1]
    rows, columns = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    frequency = np.hypot(rows, columns).ravel()[1:]  # without the mean
    edges = np.geomspace(1 / side, np.sqrt(0.5), bins + 1)[1:-1]
    _, place, modes = np.unique(np.digitize(frequency, edges), return_inverse=True, return_counts=True)
    averaging = np.zeros((frequency.size, modes.size))
    averaging[np.arange(frequency.size), place] = 1 / modes[place]

    line = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    window = np.outer(line, line)
    power = np.empty((len(images), len(PLANES), modes.size))
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        planes = np.concatenate([luminance(block)[:, None], block.transpose(0, 3, 1, 2)], axis=1)
        mean = (planes * window).sum(axis=(2, 3), keepdims=True) / window.sum()
        periodogram = np.abs(np.fft.fft2((planes - mean) * window)) ** 2 / np.square(window).sum()
        power[start : start + BLOCK] = periodogram.reshape(*planes.shape[:2], -1)[..., 1:] @ averaging
    return Spectra(frequency @ averaging, modes.astype(np.float64), power)


def mean_spectrum(spectra: Spectra, plane: str = "luminance") -> Curve:
    """Geometric mean over the images, squared 8-bit steps, with the interval of the mean.

    Power spans decades from galaxy to galaxy: an arithmetic mean would show the few brightest.

    Raises:
        TooFewGalaxies: there are fewer than `LEAST`.
    """
    mean, error = _mean_and_error(spectra, plane)
    return Curve(spectra.frequency, 10**mean, 10 ** (mean - Z * error), 10 ** (mean + Z * error))


def spectrum_distance(
    generated: Spectra, real: Spectra, plane: str = "luminance", *, seed: int, resamples: int = 1000
) -> SpectrumDistance:
    """Distance between two sets of images, bootstrapped over galaxies, and the ratio of their mean spectra.

    Raises:
        InputError: the images were of different size.
        TooFewGalaxies: a set has fewer than `LEAST`.
    """
    if not np.array_equal(generated.frequency, real.frequency):
        raise InputError("generated: spectra in other bins than the real ones; compare images of one size")
    means, errors = zip(*(_mean_and_error(one, plane) for one in (generated, real)), strict=True)
    difference, error = means[0] - means[1], np.hypot(*errors)
    ratio = Curve(real.frequency, 10**difference, 10 ** (difference - Z * error), 10 ** (difference + Z * error))
    pair = generated.log_power(plane), real.log_power(plane)
    return SpectrumDistance(bootstrap_distance(_rms_of_means, *pair, seed=seed, resamples=resamples), ratio)


def _mean_and_error(spectra: Spectra, plane: str) -> tuple[Floats, Floats]:
    """Mean log10 power and its standard error [F]."""
    logarithm = spectra.log_power(plane)
    if len(logarithm) < LEAST:
        raise TooFewGalaxies(f"spectra: {len(logarithm)} galaxies, at least {LEAST} are needed")
    return logarithm.mean(axis=0), logarithm.std(axis=0, ddof=1) / np.sqrt(len(logarithm))


def _rms_of_means(generated: Floats, real: Floats) -> float:
    return float(np.sqrt(np.square(generated.mean(axis=0) - real.mean(axis=0)).mean()))
