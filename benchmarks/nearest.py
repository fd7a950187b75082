"""Does the model copy? The nearest training galaxy of each generated one, in all eight orientations, pixel by pixel.

In: dataset folders and a model. Out: a table of distances of generated galaxies and of held-out real ones to their
nearest training galaxy, with copies of training galaxies as a negative control that must raise the alarm;
`nearest.json`; `nearest.png` (generated, nearest, difference); `distances.png` (histograms).

    python benchmarks/nearest.py --data DATASET [--data DATASET] --model mini --out OUT

The distance is the root mean square of the difference over pixels and colours, in steps of 8 bits. Prompts are the
morphologies of random test galaxies, surveys included, so that generated galaxies and held-out galaxies are of the same
kinds. An image without grain is nearer to everything, so the median may lie below that of real galaxies without a
single copy; the alarm looks at the lower end, where copies are.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from measure import (
    all_pixels,
    console,
    empty_folder,
    machine,
    morphologies,
    open_datasets,
    planes,
    run_script,
    split_of,
)
from PIL import Image, ImageDraw, ImageFont
from rich.table import Table
from torch import Tensor

from galaxysd.catalog.splits import check_disjoint
from galaxysd.data.dataset import Dataset
from galaxysd.data.transforms import dihedral
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.metrics.controls import noisy_copies
from galaxysd.metrics.memorization import NEAR, Neighbours, alarm, nearest
from galaxysd.prompts import Morphology
from galaxysd.reports.contact_sheet import FAINT, GROUND, INK, contact_sheet

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95)
PER_LINE = 4  # generated galaxies on a line of the sheet
COLOURS = {"held-out real": (110, 140, 190), "generated": (240, 170, 70), "copies": (220, 80, 90)}

Floats = npt.NDArray[np.float64]


def galaxies(datasets: Sequence[Dataset], split: str, limit: int | None) -> tuple[Tensor, list[str]]:
    """Images uint8 [N, 3, S, S] and `survey:id` of a split of all datasets."""
    images, names = [], []
    for dataset in datasets:
        ids = split_of(dataset, split).frame["id"].to_list()[:limit]
        images.append(planes(all_pixels(dataset, ids)))
        names += [f"{dataset.survey}:{galaxy}" for galaxy in ids]
    return torch.cat(images), names


def prompts_like_test(datasets: Sequence[Dataset], n: int, rng: np.random.Generator) -> list[Morphology]:
    """Morphologies of random test galaxies."""
    known = [morphology for dataset in datasets for morphology in morphologies(split_of(dataset, "test"))]
    return [known[place] for place in rng.choice(len(known), n, replace=len(known) < n)]


def pairs_sheet(generated: Tensor, train: Tensor, found: Neighbours, footer: str) -> Image.Image:
    """Generated | nearest, turned to match | difference; the nearest pairs first."""
    matches = dihedral(train[found.index], torch.from_numpy(found.orientation))
    difference = (generated.short() - matches.short()).abs().to(torch.uint8)
    triples = torch.stack([generated, matches, difference], dim=1).permute(0, 1, 3, 4, 2).numpy()  # [M, 3, S, S, 3]
    rows = []
    order = np.argsort(found.distance)
    for places in np.split(order, range(PER_LINE, len(order), PER_LINE)):
        label = "distances " + ", ".join(f"{found.distance[place]:.1f}" for place in places)
        rows.append((label, np.concatenate(triples[places])))
    title = "dreamed | nearest training galaxy, turned to match | difference"
    return contact_sheet(rows, columns=3 * PER_LINE, scale=1, title=title, footer=footer)


def histogram(groups: dict[str, Floats], mark: float, footer: str) -> Image.Image:
    """Distances of the groups, each in steps up to its own tallest, and a line at `mark`."""
    width, height, left, bottom = 760, 420, 50, 350
    top = 10 * np.ceil(max(values.max() for values in groups.values()) / 10)
    edges = np.linspace(0, top, 51)
    counts = {name: np.histogram(values, edges)[0] for name, values in groups.items()}
    sheet = Image.new("RGB", (width, height), GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)

    def across(value: float) -> float:
        return left + value / top * (width - left - 20)

    for line, (name, count) in enumerate(counts.items()):
        steps = [(across(edges[0]), bottom)]
        for low, high, part in zip(edges[:-1], edges[1:], count / count.max(), strict=True):
            level = bottom - part * (bottom - 76)
            steps += [(across(low), level), (across(high), level)]
        draw.line([*steps, (across(edges[-1]), bottom)], fill=COLOURS[name], width=2)
        text = f"{name}, n = {len(groups[name]):,}"
        draw.text((width - 20, 16 + 18 * line), text, fill=COLOURS[name], font=font, anchor="ra")
    draw.line([(across(mark), 34), (across(mark), bottom)], fill=FAINT)
    draw.text((across(mark) + 5, 34), f"{NEAR:.0%} of held-out real", fill=FAINT, font=font)
    draw.line([(left, bottom), (width - 20, bottom)], fill=INK)
    for value in np.arange(0, top + 1, 10):
        draw.text((across(value), bottom + 6), f"{value:.0f}", fill=INK, font=font, anchor="ma")
    axis = "distance to the nearest training galaxy in 8 orientations (rms, 8-bit steps)"
    draw.text((left, bottom + 28), axis, fill=INK, font=font)
    draw.text((left, height - 14), footer, fill=FAINT, font=ImageFont.load_default(12), anchor="ls")
    return sheet


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """All of it; writes the pictures and returns what goes into the JSON."""
    out = empty_folder(options.out)
    datasets = open_datasets(options.data)
    check_disjoint([dataset.catalog for dataset in datasets])
    pipeline = GalaxyPipeline.from_pretrained(options.model)
    rng = np.random.default_rng(options.seed)
    wanted = prompts_like_test(datasets, options.n, rng)
    generated = planes(pipeline(wanted, seed=options.seed).images)
    train, names = galaxies(datasets, "train", options.limit)
    test, _ = galaxies(datasets, "test", options.limit)
    copies = planes(noisy_copies(train.permute(0, 2, 3, 1).numpy(), min(options.n, len(train)), rng))
    everything = nearest(torch.cat([test, generated, copies]), train)
    ends = np.cumsum([len(test), len(generated)])
    groups = dict(zip(COLOURS, np.split(everything.distance, ends), strict=True))
    mine = slice(*ends)
    found = Neighbours(everything.distance[mine], everything.index[mine], everything.orientation[mine])

    footer = f"{options.model} {pipeline.model_hash}, seed {options.seed}, {len(train):,} training galaxies"
    real = groups["held-out real"]
    pairs_sheet(generated, train, found, footer).save(out / "nearest.png")
    histogram(groups, float(np.quantile(real, NEAR)), footer).save(out / "distances.png")
    summary = {}
    for name, values in groups.items():
        share, rings = alarm(values, real)
        quantiles = dict(zip(map(str, QUANTILES), np.quantile(values, QUANTILES).tolist(), strict=True))
        summary[name] = {"n": len(values), "quantiles": quantiles, "share_near": share, "alarm": rings}
    return {
        "model": options.model,
        "model_hash": pipeline.model_hash,
        "sampling": pipeline.sampling().model_dump(mode="json"),
        "data": [{"survey": one.survey, "inputs": one.info.inputs} for one in datasets],
        "seed": options.seed,
        "train": len(train),
        "groups": summary,
        "pairs": [
            {
                "prompt": pipeline.caption(request),
                "nearest": names[place],
                "orientation": int(turn),
                "distance": distance,
            }
            for request, place, turn, distance in zip(
                wanted, found.index, found.orientation, found.distance.tolist(), strict=True
            )
        ],
    }


def show(result: dict[str, Any]) -> None:
    """Print the table of quantiles."""
    title = f"distance to the nearest of {result['train']:,} training galaxies, model {result['model']}"
    table = Table("galaxies", "n", title=title)
    for quantile in QUANTILES:
        table.add_column("nearest" if quantile == 0 else f"{quantile:.0%}", justify="right")
    table.add_column(f"below {NEAR:.0%} of real", justify="right")
    table.add_column("alarm")
    wanted = {"held-out real": False, "generated": False, "copies": True}
    for name, group in result["groups"].items():
        verdict = "[green]ok" if group["alarm"] == wanted[name] else "[red]missed"
        says = "yes" if group["alarm"] else "no"
        quantiles = (f"{value:.1f}" for value in group["quantiles"].values())
        table.add_row(name, f"{group['n']:,}", *quantiles, f"{group['share_near']:.1%}", f"{says} ({verdict}[/])")
    table.caption = f"rms, 8-bit steps, 8 orientations; seed {result['seed']}; copies must raise the alarm\n{machine()}"
    console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Find the nearest training galaxy of dreamed and of held-out ones.")
    parser.add_argument("--data", type=Path, action="append", required=True, help="dataset folder; repeatable")
    parser.add_argument("--model", default="mini", help="a shipped model or a model folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for nearest.json and the pictures")
    parser.add_argument("-n", type=int, default=64, help="dreamed galaxies")
    parser.add_argument("--limit", type=int, help="galaxies per split of each dataset, for a trial")
    parser.add_argument("--seed", type=int, default=0)
    run_script(parser, evaluate, show, "nearest.json")


if __name__ == "__main__":
    main()
