"""The drawings of an evaluation report, on a dark ground like the contact sheets.

In: tables, curves and scores of the other files of other packages. Out: PNG files as bytes; same input, same bytes.

matplotlib is used through its objects only and imported when something is drawn, so that nothing global changes.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from galaxysd.metrics.consistency import Calibration
from galaxysd.metrics.morphology import measured_values
from galaxysd.metrics.photometry import BANDS
from galaxysd.metrics.power_spectrum import Curve
from galaxysd.reports import contact_sheet
from galaxysd.stats import Score
from galaxysd.types import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
WIDTH = 1080  # px, what the report's column holds
GROUND, INK, FAINT = (
    "#{:02x}{:02x}{:02x}".format(*colour) for colour in (contact_sheet.GROUND, contact_sheet.INK, contact_sheet.FAINT)
)
LINE = "#2a3350"
REAL, GENERATED, CONTROL = "#8fc1ff", "#ffd88a", "#e07a8b"
COLOURS = (REAL, GENERATED, "#9be3a8", "#c9a6ff", CONTROL, "#7fd6d6")  # of the sets of a drawing, in order
BAND_COLOURS = {"red": "#ff8a80", "green": "#9be3a8", "blue": "#8fc1ff"}
BINS = 24  # of a histogram
MARKERS = "vDsPX*"  # of negative controls, in order


@dataclass(frozen=True)
class Point:
    """A generator, or a setting of one, between three virtues.

    Attributes:
        label: text beside it.
        consistency, diversity, realism: larger is better.
    """

    label: str
    consistency: float
    diversity: float
    realism: float


def distributions(sets: Mapping[str, pl.DataFrame], parameters: Mapping[str, str], *, columns: int = 4) -> bytes:
    """Distribution of every parameter, the sets over each other, on the middle 99 % of all values.

    Args:
        sets: tables of measurements by name, the real one first.
        parameters: column: label with unit.
        columns: panels in a row.
    """
    rows = -(-len(parameters) // columns)
    figure = new_figure(220 * rows + 50)
    for index, (name, label) in enumerate(parameters.items()):
        axes = panel(figure, rows, columns, index + 1, xlabel=label)
        samples = {key: measured_values(table, name) for key, table in sets.items()}
        bins = np.linspace(*_range(samples.values()), BINS + 1).tolist()
        for (key, sample), colour in zip(samples.items(), COLOURS, strict=False):
            if sample.size:
                weights = np.full(sample.size, 1 / sample.size)
                axes.hist(sample, bins, weights=weights, histtype="stepfilled", color=colour, alpha=0.15)
                axes.hist(sample, bins, weights=weights, histtype="step", color=colour, linewidth=1.5, label=key)
        axes.set_yticks([])
    _legend(figure, sets)
    return png(figure)


def corner(sets: Mapping[str, pl.DataFrame], parameters: Mapping[str, str]) -> bytes:
    """Every parameter against every other: contours around 50 % and 90 % of each set, or its galaxies if few.

    Args:
        sets: tables of measurements by name, the real one first.
        parameters: column: label with unit, at least two.
    """
    names, n = list(parameters), len(parameters)
    samples = {
        key: table.filter("measured").drop_nulls(names).select(pl.col(names).cast(pl.Float64)).to_numpy()
        for key, table in sets.items()
    }
    ranges = [_range(sample[:, index] for sample in samples.values()) for index in range(n)]
    figure = new_figure(WIDTH)
    for row in range(n):
        for column in range(row + 1):
            axes = panel(figure, n, n, row * n + column + 1)
            axes.set_xlim(ranges[column])
            for (key, sample), colour in zip(samples.items(), COLOURS, strict=False):
                if row == column and len(sample):
                    bins, weights = np.linspace(*ranges[row], BINS + 1).tolist(), np.full(len(sample), 1 / len(sample))
                    axes.hist(
                        sample[:, row], bins, weights=weights, histtype="step", color=colour, linewidth=1.5, label=key
                    )
                elif row != column:
                    axes.set_ylim(ranges[row])
                    _cloud(axes, sample[:, column], sample[:, row], ranges[column], ranges[row], colour)
            if row == n - 1:
                axes.set_xlabel(list(parameters.values())[column], color=INK)
            else:
                axes.set_xticklabels([])
            if column == 0 and row:
                axes.set_ylabel(list(parameters.values())[row], color=INK)
            else:
                axes.set_yticklabels([])
            if row == column:
                axes.set_yticks([])
    _legend(figure, sets)
    return png(figure)


def spectra(curves: Mapping[str, Curve], ratios: Mapping[str, Curve]) -> bytes:
    """Mean power spectra with their intervals, and ratios to the real one.

    Args:
        curves: mean spectra by name, the real one first.
        ratios: generated over real, by the names of `curves`.
    """
    figure = new_figure(420)
    left = panel(figure, 1, 2, 1, xlabel="frequency, cycles per px", ylabel="power, squared 8-bit steps")
    right = panel(figure, 1, 2, 2, xlabel="frequency, cycles per px", ylabel="power over that of real galaxies")
    colours = dict(zip(curves, COLOURS, strict=False))
    for axes, group in ((left, curves), (right, ratios)):
        axes.set(xscale="log", yscale="log")
        axes.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
        axes.set_xticks([], minor=True)
        for name, curve in group.items():
            axes.fill_between(curve.frequency, curve.low, curve.high, color=colours[name], alpha=0.25, linewidth=0)
            axes.plot(curve.frequency, curve.value, color=colours[name], linewidth=1.6, label=name)
    right.axhline(1, color=FAINT, linestyle="--", linewidth=1)
    _legend(figure, curves)
    return png(figure)


def histograms(sets: Mapping[str, Floats]) -> bytes:
    """Pixel values of every band.

    Args:
        sets: histograms [N, 3, 256] by name, the real one first.
    """
    figure = new_figure(330)
    for index, band in enumerate(BANDS):
        axes = panel(figure, 1, 3, index + 1, xlabel=f"{band} ({'irg'[index]} band), 8-bit steps")
        axes.set_yscale("log")
        for (name, shares), colour in zip(sets.items(), COLOURS, strict=False):
            mean = shares[:, index].mean(axis=0)
            axes.plot(np.arange(256), np.where(mean > 0, mean, np.nan), color=colour, linewidth=1.3, label=name)
        if index == 0:
            axes.set_ylabel("share of pixels", color=INK)
    _legend(figure, sets)
    return png(figure)


def strip_chart(scores: Mapping[str, Score]) -> bytes:
    """Each score with its interval between its real baseline (what real galaxies reach) and its negative controls.

    Every line has a scale of its own, from the smallest to the largest of its numbers, which stand at its ends.
    """
    figure = new_figure(54 * len(scores) + 84)
    axes = figure.add_axes((0.2, 0.02, 0.74, 1 - 64 / (54 * len(scores) + 84)))
    axes.set(xlim=(-0.09, 1.09), ylim=(len(scores) - 0.4, -0.6), facecolor=GROUND, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    kinds = sorted({name for one in scores.values() for name in one.negative_controls})
    markers = dict(zip(kinds, MARKERS, strict=False))
    for row, (label, one) in enumerate(scores.items()):
        axes.text(-0.11, row, label, color=INK, ha="right", va="center")
        axes.plot([0, 1], [row, row], color=LINE, linewidth=1, zorder=1)
        straw = {name: value for name, value in one.negative_controls.items() if value is not None}
        ends = [
            one.low,
            one.high,
            one.value,
            *((one.real_baseline.low, one.real_baseline.high) if one.real_baseline else ()),
            *straw.values(),
        ]
        known = [end for end in ends if end is not None]
        if not known:
            axes.text(0.5, row - 0.12, one.note or "", color=FAINT, ha="center", va="bottom", fontsize=9)
            continue
        least, unit = min(known), (max(known) - min(known)) or 1.0
        for x, text, align in ((-0.02, min(known), "right"), (1.02, max(known), "left")):
            axes.text(x, row, f"{text:.3g}", color=FAINT, ha=align, va="center", fontsize=9)
        if one.real_baseline:
            low, high = ((end - least) / unit for end in (one.real_baseline.low, one.real_baseline.high))
            axes.fill_between(
                [low, max(high, low + 0.004)], row - 0.22, row + 0.22, color=REAL, alpha=0.45, linewidth=0
            )
        for name, value in straw.items():
            axes.plot((value - least) / unit, row, markers[name], color=CONTROL, markersize=7, zorder=3)
        if one.value is not None and one.low is not None and one.high is not None:
            x, low, high = ((end - least) / unit for end in (one.value, one.low, one.high))
            axes.plot([low, high], [row, row], color=GENERATED, linewidth=4, alpha=0.6, zorder=4)
            axes.plot(x, row, "o", color=GENERATED, markersize=9, zorder=5)
            axes.text(
                min(max(x, 0.02), 0.98), row - 0.18, f"{one.value:.3g}", color=GENERATED, ha="center", va="bottom"
            )
        else:
            axes.text(0.5, row - 0.12, one.note or "", color=FAINT, ha="center", va="bottom", fontsize=9)
    keys = [_key(axes, "dreamed, 95 % interval", GENERATED, "o"), _key(axes, "floor: real galaxies", REAL, "s")]
    keys += [_key(axes, name, CONTROL, marker) for name, marker in markers.items()]
    _legend(figure, keys=keys)
    return png(figure, tight=False)


def reliability(calibrations: Mapping[str, Calibration]) -> bytes:
    """Fractions asked for against fractions read; area of a point: number of answers in its bin."""
    figure = new_figure(560, width=620)
    axes = panel(figure, 1, 1, 1, xlabel="fraction read", ylabel="fraction asked for")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1)
    for (name, one), colour in zip(calibrations.items(), COLOURS, strict=False):
        axes.plot(one.seen, one.asked, color=colour, linewidth=1.5, label=f"{name} (error {one.error:.3f})")
        axes.scatter(
            one.seen, one.asked, s=12 + 150 * np.array(one.n) / max(one.n), color=colour, alpha=0.6, linewidth=0
        )
    axes.legend(loc="upper left", frameon=False, labelcolor=INK)
    return png(figure)


def front(points: Sequence[Point]) -> bytes:
    """Consistency against diversity, realism as colour (Astolfi et al. 2024); a label without package is left out."""
    figure = new_figure(560, width=820)
    axes = panel(figure, 1, 1, 1, xlabel="diversity", ylabel="consistency")
    axes.margins(0.16)
    across, up, colour = np.array([(one.diversity, one.consistency, one.realism) for one in points]).T
    drawn = axes.scatter(across, up, c=colour, cmap="viridis", s=90, edgecolor=INK, linewidth=0.8, zorder=3)
    bar = figure.colorbar(drawn, ax=axes)
    bar.set_label("realism", color=INK)
    bar.ax.tick_params(colors=FAINT, labelcolor=FAINT)
    bar.outline.set_edgecolor(LINE)
    figure.canvas.draw()
    frame = axes.get_window_extent().get_points()
    taken = [axes.transData.transform(place) + np.array([[-8, -8], [8, 8]]) for place in zip(across, up, strict=True)]
    for index, one in enumerate(points):
        for place in ((11, 0), (-11, 0), (0, 13), (0, -13), (11, 16), (-11, 16), (11, -16), (-11, -16)):
            text = axes.annotate(
                one.label,
                (across[index], up[index]),
                place,
                textcoords="offset points",
                ha="center" if not place[0] else "left" if place[0] > 0 else "right",
                va="center",
                color=INK,
            )
            box = text.get_window_extent().get_points()
            inside = (frame[0] < box[0]).all() and (box[1] < frame[1]).all()
            if inside and not any((box[0] < other[1]).all() and (other[0] < box[1]).all() for other in taken):
                break
            text.remove()
        else:
            continue
        taken.append(box)
    return png(figure)


def new_figure(height: int, *, width: int = WIDTH) -> "Figure":
    """An empty figure, px, that no window system knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=GROUND)
    FigureCanvasAgg(figure)
    return figure


def panel(figure: "Figure", rows: int, columns: int, place: int, *, xlabel: str = "", ylabel: str = "") -> "Axes":
    """Axes at a place of a grid, counted from 1."""
    axes = figure.add_subplot(rows, columns, place, facecolor=GROUND)
    axes.spines[:].set_color(LINE)
    axes.tick_params(which="both", colors=FAINT, labelcolor=FAINT, labelsize=9)
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel(ylabel, color=INK)
    return axes


def _range(samples: Iterable[Floats]) -> tuple[float, float]:
    """What holds the middle 99 % of all values, with some package; a unit interval where there are none."""
    every = np.concatenate(list(samples))
    if not every.size:
        return 0.0, 1.0
    low, high = (float(end) for end in np.quantile(every, (0.005, 0.995)))
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room


def _cloud(
    axes: "Axes", x: Floats, y: Floats, across: tuple[float, float], up: tuple[float, float], colour: str
) -> None:
    """Contours that hold 50 % and 90 % of the points, from a smoothed histogram; the points themselves below 100."""
    from scipy.ndimage import gaussian_filter

    if len(x) < 100:
        axes.scatter(x, y, s=7, color=colour, alpha=0.7, linewidth=0)
        return
    counts, edges_x, edges_y = np.histogram2d(x, y, bins=30, range=(across, up))
    density = gaussian_filter(counts, 1.3)
    falling = np.sort(density.ravel())[::-1]
    share = falling.cumsum() / falling.sum()
    levels = [falling[np.searchsorted(share, part)] for part in (0.9, 0.5)]
    middles = [(edges[1:] + edges[:-1]) / 2 for edges in (edges_x, edges_y)]
    if levels[0] < levels[1]:
        axes.contour(*middles, density.T, levels=levels, colors=colour, linewidths=(1.0, 1.7))


def _key(axes: "Axes", label: str, colour: str, marker: str) -> Any:
    return axes.plot([], [], marker, color=colour, markersize=8, label=label)[0]


def _legend(figure: "Figure", names: Iterable[str] = (), *, keys: Sequence[Any] | None = None) -> None:
    """One legend above everything."""
    if keys is None:
        axes = figure.axes[0]
        pairs = zip(names, COLOURS, strict=False)
        keys = [axes.plot([], [], color=colour, linewidth=3, label=name)[0] for name, colour in pairs]
    figure.legend(handles=list(keys), loc="upper center", ncols=min(len(keys), 8), frameon=False, labelcolor=INK)


def png(figure: "Figure", *, tight: bool = True) -> bytes:
    """The figure as a PNG file, laid out anew if `tight`, with package for its legend."""
    if tight:
        head = 34 / (figure.get_figheight() * DPI) if figure.legends else 0.0
        figure.tight_layout(rect=(0, 0, 1, 1 - head))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor=GROUND, metadata={"Software": None})
    return buffer.getvalue()
