"""Flow matching in sixty lines: learn what the galaxies of the toy survey look like, then draw some from noise.

    galaxysd toy --out toy -n 1000 --size 32
    python examples/minimal_flow.py toy --out flow.png

A noisy image is (1 - s) x + s e. A network sees it with its level s and the votes, and predicts the clean image x. From
pure noise (s = 1), steps along (noisy - predicted) / s end at an image (s = 0). Lipman et al. 2023, arXiv 2210.02747.
"""

import argparse
from itertools import pairwise

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import layer_norm, mse_loss, silu

VOTES = ("t01_smooth_or_features_a01_smooth", "t02_edgeon_a04_yes", "t04_spiral_a08_spiral")
ROWS = {"smooth": (1.0, 0, 0), "edge-on": (0, 1.0, 0), "spiral": (0, 0, 1.0), "disk without arms": (0, 0, 0)}


class Block(nn.Module):  # a residual block that is told the noise level and the votes
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.told = nn.Linear(1 + len(VOTES), 2 * width)

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        gain, shift = self.told(told)[:, :, None, None].chunk(2, dim=1)
        return x + self.second(silu(self.first(layer_norm(x, x.shape[1:])) * (1 + gain) + shift))


class Network(nn.Module):  # noisy image [B, 3, S, S], level s [B], votes [B, 3] -> clean image
    def __init__(self, width: int = 96, blocks: int = 5) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(48, width, 3, padding=1), nn.Conv2d(width, 48, 3, padding=1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))

    def forward(self, noisy: torch.Tensor, s: torch.Tensor, votes: torch.Tensor) -> torch.Tensor:
        x = self.first(nn.functional.pixel_unshuffle(noisy, 4))  # 4 x 4 pixels in one place
        for block in self.blocks:
            x = block(x, torch.cat([s[:, None], votes], dim=1))
        return nn.functional.pixel_shuffle(self.last(x), 4)


def train(network: Network, images: torch.Tensor, votes: torch.Tensor, seen: int, batch: int = 32) -> float:
    steps = seen // batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        row, s, e = torch.randint(len(images), (batch,)), torch.rand(batch), torch.randn(batch, *images.shape[1:])
        clean = images[row]
        noisy = clean + s[:, None, None, None] * (e - clean)
        loss = mse_loss(network(noisy, s, votes[row]), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return loss.item()


@torch.no_grad()
def draw(network: Network, votes: torch.Tensor, size: int, steps: int = 20) -> torch.Tensor:
    x, levels = torch.randn(len(votes), 3, size, size), torch.linspace(1, 0, steps + 1)
    for s, lower in pairwise(levels):
        x = x + (lower - s) * (x - network(x, s.expand(len(x)), votes)) / s  # an Euler step
    return x


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="Flow matching on the toy survey.")
    options.add_argument("survey", help="folder that `galaxysd toy` wrote, at 32 px")
    options.add_argument("--out", default="flow.png")
    options.add_argument("--images", type=int, default=20_000, help="seen in training; about a minute on two cores")
    args = options.parse_args()
    torch.manual_seed(0)
    table = pl.read_csv(f"{args.survey}/votes.csv", columns=["file", *(f"{name}_weighted_fraction" for name in VOTES)])
    pixels = np.stack([np.asarray(Image.open(f"{args.survey}/images/{file}")) for file in table["file"]])
    images = torch.tensor(pixels).permute(0, 3, 1, 2) / 64 - 1
    network = Network()
    loss = train(network, images, torch.tensor(table.drop("file").to_numpy(), dtype=torch.float32), args.images)
    drawn = draw(network, torch.tensor(list(ROWS.values())).repeat_interleave(8, dim=0), images.shape[-1])
    sheet = ((drawn + 1) * 64).clamp(0, 255).byte().unflatten(0, (4, 8)).permute(0, 3, 1, 4, 2)
    sheet = sheet.flatten(0, 1).flatten(1, 2)
    Image.fromarray(sheet.numpy()).save(args.out)
    print(f"loss {loss:.4f}; rows of {args.out}: {', '.join(ROWS)}")
