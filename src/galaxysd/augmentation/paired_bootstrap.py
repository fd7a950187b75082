"""Arms against each other: what differs, with an interval over both seeds and test galaxies.

In: the classes that every run called the test galaxies, [arms, seeds, N]. Out: purity, completeness and F1 of every arm
and class as means over the seeds, for the whole and for bootstrap draws (Efron 1979) in which test galaxies and seeds
are drawn with replacement, the same ones for all arms, so that differences are paired.
"""

from dataclasses import dataclass

import numpy as np

from galaxysd.stats import Estimate, spread
from galaxysd.types import Floats, Labels

STATISTICS = ("purity", "completeness", "F1")
RESAMPLES = 1000


@dataclass(frozen=True)
class PairedBootstrap:
    """Statistics of the arms at one level of shots.

    Attributes:
        arms: their names [A].
        whole: [A, K, 3] in the order of `STATISTICS`, NaN for a class without test galaxies.
        drawn: [R, A, K, 3], the same in every draw.
        n: test galaxies.
    """

    arms: tuple[str, ...]
    whole: Floats
    drawn: Floats
    n: int

    def of(self, arm: str, statistic: str, label: int | None = None) -> Estimate | None:
        """A statistic of one arm, of one class or as mean over the classes; None where there is no test galaxy."""
        return self._estimate(*self._values(arm, statistic, label))

    def difference(self, arm: str, other: str, statistic: str, label: int | None = None) -> Estimate | None:
        """How much larger the statistic is for `arm` than for `other`."""
        (whole, drawn), (whole_other, drawn_other) = (self._values(name, statistic, label) for name in (arm, other))
        return self._estimate(whole - whole_other, drawn - drawn_other)

    def _values(self, arm: str, statistic: str, label: int | None) -> tuple[float, Floats]:
        place, column = self.arms.index(arm), STATISTICS.index(statistic)
        whole, drawn = self.whole[place, :, column], self.drawn[:, place, :, column]
        if label is not None:
            return float(whole[label]), drawn[:, label]
        return float(np.nanmean(whole)), np.asarray(np.nanmean(drawn, axis=1))

    def _estimate(self, whole: float, drawn: Floats) -> Estimate | None:
        known = drawn[np.isfinite(drawn)]
        return spread(whole, known, self.n) if np.isfinite(whole) and len(known) else None


def paired_bootstrap(
    arms: tuple[str, ...], truth: Labels, called: Labels, classes: int, *, seed: int = 0, resamples: int = RESAMPLES
) -> PairedBootstrap:
    """Compute the statistics.

    Args:
        arms: names [A].
        truth: class of each test galaxy [N].
        called: what each run called it [A, S, N].
        classes: K.
        seed: of the draws.
        resamples: how many.
    """
    count, seeds, n = called.shape
    cells = classes * classes
    offsets = np.arange(count * seeds).reshape(count, seeds, 1) * cells
    codes = (truth * classes + called + offsets).reshape(count * seeds, n)

    def statistics(times: Floats, picked: Labels) -> Floats:
        weights = np.broadcast_to(times, codes.shape)
        tables = np.bincount(codes.ravel(), weights=weights.ravel(), minlength=count * seeds * cells)
        tables = tables.reshape(count, seeds, classes, classes)
        hits, true, said = np.einsum("askk->ask", tables), tables.sum(axis=3), tables.sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            each = np.stack([hits / np.maximum(said, 1), hits / true, 2 * hits / (true + said)], axis=-1)
        each[true == 0] = np.nan
        mean: Floats = each[:, picked].mean(axis=1)
        return mean

    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        times = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)
        drawn.append(statistics(times, np.asarray(rng.integers(seeds, size=seeds))))
    return PairedBootstrap(arms, statistics(np.ones(n), np.arange(seeds)), np.array(drawn), n)
