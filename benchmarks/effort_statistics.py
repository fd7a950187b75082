"""What a search of known truth found: statistics with intervals, gains of one method over another, curves.

In: the pooled ranks of galaxies by method, and their truth. Out: `Estimate`s over a bootstrap of galaxies, a PNG.
"""

import io
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from galaxysd.metrics.ranking import average_precision, completeness_at, completeness_at_purity, found_at, to_inspect
from galaxysd.reports import figures
from galaxysd.stats import Estimate, bootstrap

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

EFFORTS = (0.02, 0.05, 0.1)  # shares of the survey that are inspected
PURITY = 0.1


def statistics(n: int) -> dict[str, Callable[[Floats], float]]:
    """Statistics of rows (score, truth), by name; `n` galaxies are searched."""

    def of(function: Callable[..., float], *arguments: float) -> Callable[[Floats], float]:
        return lambda rows: float(function(rows[:, 0], rows[:, 1] > 0.5, *arguments))

    return {
        "average precision": of(average_precision),
        f"completeness at purity {PURITY:g}": of(completeness_at_purity, PURITY),
        **{f"completeness, {share:.0%} inspected": of(completeness_at, round(share * n)) for share in EFFORTS},
        "to inspect for 50 %": of(to_inspect, 0.5),
        "to inspect for 80 %": of(to_inspect, 0.8),
    }


def measure_scores(scores: Mapping[str, Floats], truth: Flags, *, resamples: int) -> dict[str, dict[str, Estimate]]:
    """Every statistic of every method with its interval.

    Args:
        scores: [N] by method.
        truth: [N].
        resamples: of the bootstrap over galaxies.
    """
    stats = statistics(len(truth))
    return {
        method: {
            name: bootstrap(one, np.stack([values, truth], axis=1), seed=0, resamples=resamples)
            for name, one in stats.items()
        }
        for method, values in scores.items()
    }


def gain(ours: Floats, theirs: Floats, truth: Flags, share: float, *, resamples: int) -> Estimate:
    """Times as many true galaxies found among the first `share` of the list, with the interval of the pair."""
    n = round(share * len(truth))

    def ratio(rows: Floats) -> float:
        flags = rows[:, 2] > 0.5
        return completeness_at(rows[:, 0], flags, n) / max(
            completeness_at(rows[:, 1], flags, n), 1 / max(flags.sum(), 1)
        )

    return bootstrap(ratio, np.stack([ours, theirs, truth], axis=1), seed=0, resamples=resamples)


def curves(scores: Mapping[str, Floats], truth: Flags, title: str) -> bytes:
    """Completeness against the share inspected, a line per method."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.6), dpi=figures.DPI, facecolor=figures.GROUND)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=figures.GROUND)
    inspected = np.arange(len(truth) + 1) / len(truth)
    axes.plot(inspected[1:], inspected[1:], ":", color=figures.FAINT, label="chance")
    for place, (name, values) in enumerate(scores.items()):
        colour, line = figures.COLOURS[place % len(figures.COLOURS)], ("-", "--")[place // len(figures.COLOURS)]
        axes.plot(inspected[1:], found_at(values, truth)[1:] / truth.sum(), line, color=colour, label=name)
    axes.set(xscale="log", xlim=(1 / 500, 1), ylim=(0, 1))
    axes.set_title(title, color=figures.INK)
    axes.set_xlabel("share of the survey inspected", color=figures.INK)
    axes.set_ylabel("completeness", color=figures.INK)
    axes.tick_params(which="both", colors=figures.FAINT)
    axes.spines[:].set_color(figures.LINE)
    axes.legend(frameon=False, labelcolor=figures.INK)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=figures.GROUND, metadata={"Software": None})
    return buffer.getvalue()
