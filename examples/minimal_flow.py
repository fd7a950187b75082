"""Flow matching in sixty lines: learn to draw the toy survey, then draw it from noise.

    galaxysd toy --out toy -n 1000 --size 32
    python examples/minimal_flow.py toy --out flow.png

A noisy image is (1 - s) x + s e. A network sees it with its level s and the votes, and predicts the clean image x; from
pure noise (s = 1), steps along (noisy - predicted) / s end at an image (s = 0). Lipman et al. 2023, arXiv 2210.02747.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate, mse_loss, silu

VOTES = {"smooth": "t01_smooth_or_features_a01_smooth", "edge-on": "t02_edgeon_a04_yes", "spiral": "t04_spiral_a08_spiral"}
ROWS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])  # smooth, edge-on, spiral, disk without arms


class Block(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.norm, self.first = nn.GroupNorm(8, outside), nn.Conv2d(inside, outside, 3, padding=1)
        self.second, self.told = nn.Conv2d(outside, outside, 3, padding=1), nn.Linear(64, outside)

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return x + self.second(silu(self.norm(x) * (1 + self.told(told)[:, :, None, None])))


class Network(nn.Module):
    def __init__(self, a: int = 32, b: int = 64, c: int = 128) -> None:
        super().__init__()
        self.told = nn.Sequential(nn.Linear(1 + len(VOTES), 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.blocks = nn.ModuleList([Block(3, a), Block(a, b), Block(b, c), Block(c + b, b), Block(b + a, a)])
        self.last = nn.Conv2d(a, 3, 3, padding=1)

    def forward(self, noisy: torch.Tensor, s: torch.Tensor, votes: torch.Tensor) -> torch.Tensor:
        told = self.told(torch.cat([s[:, None], votes], dim=1))
        fine = self.blocks[0](noisy, told)
        middle = self.blocks[1](avg_pool2d(fine, 2), told)
        coarse = self.blocks[2](avg_pool2d(middle, 2), told)
        middle = self.blocks[3](torch.cat([interpolate(coarse, scale_factor=2.0), middle], dim=1), told)
        return self.last(self.blocks[4](torch.cat([interpolate(middle, scale_factor=2.0), fine], dim=1), told))


@torch.no_grad()
def draw(network: Network, votes: torch.Tensor, size: int, steps: int = 24) -> torch.Tensor:
    x = torch.randn(len(votes), 3, size, size)
    levels = torch.linspace(1, 0, steps + 1) ** 1.5
    for s, lower in zip(levels[:-1], levels[1:], strict=True):
        x = x + (lower - s) * (x - network(x, s.expand(len(x)), votes)) / s  # an Euler step
    return x


def main() -> None:
    options = argparse.ArgumentParser(description="Flow matching on the toy survey.")
    options.add_argument("survey", type=Path, help="folder that `galaxysd toy` wrote")
    options.add_argument("--out", type=Path, default=Path("flow.png"))
    options.add_argument("--seconds", type=float, default=60)
    args = options.parse_args()
    torch.manual_seed(0)
    columns = {name: f"{column}_weighted_fraction" for name, column in VOTES.items()}
    table = pl.read_csv(args.survey / "votes.csv", columns=["file", *columns.values()])
    images = np.stack([np.asarray(Image.open(args.survey / "images" / file)) for file in table["file"]])
    x = torch.tensor(images).permute(0, 3, 1, 2) / 64 - 1  # galaxies are dark: most of it lies around zero
    votes = torch.tensor(table.select(*columns.values()).to_numpy(), dtype=torch.float32)
    votes[:, 1:] *= 1 - votes[:, :1]  # of all volunteers, not of those who were asked
    network, seen, started = Network(), 0, time.monotonic()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    while (spent := (time.monotonic() - started) / args.seconds) < 1:
        optimizer.param_groups[0]["lr"] = 2e-3 * math.cos(spent * math.pi / 2)
        row = torch.randint(len(x), (64,))
        s, e, clean = torch.sigmoid(torch.randn(64) + 0.5), torch.randn(64, *x.shape[1:]), x[row]
        clean = torch.where(torch.rand(64, 1, 1, 1) < 0.5, clean, clean.flip(3))
        noisy = clean + s[:, None, None, None] * (e - clean)
        loss = mse_loss(network(noisy, s, votes[row]), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += 64
    drawn = draw(network, ROWS.repeat_interleave(8, dim=0), x.shape[-1])
    sheet = ((drawn + 1) * 64).clamp(0, 255).byte().unflatten(0, (4, 8)).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    Image.fromarray(sheet.numpy()).save(args.out)
    print(f"{seen:,} images seen, loss {loss.item():.4f}; {', '.join(VOTES)} and disks without arms in {args.out}")


if __name__ == "__main__":
    main()
