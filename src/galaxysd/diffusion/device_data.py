"""Training galaxies on the device: pixels, labels, latents and reconstructions, drawn by index so that no step waits.

In: a `PackPool` and a device. Out: batches on the device (the `Data` protocol of training/fit.py), whose draws come
from a generator on the device. Latents and reconstructions are made once per training, in an order that lets a slow
machine stop early and learn from those it has.
"""

import time

import numpy as np
import torch
from torch import Tensor

from galaxysd.data.transforms import dihedral
from galaxysd.diffusion.autoencoder import Autoencoder, to_pixels, to_unit
from galaxysd.diffusion.pack import PackPool

ORIENTATIONS = 8


class DevicePool:
    """Images and labels (batches for `AutoencoderTask`).

    Attributes:
        pixels: uint8 [N, 3, S * S].
        fractions: [N, A] float32.
        known: [N, Q] bool.
        survey: [N] int64.
        weights: [N] float32, how often each galaxy is drawn.
    """

    def __init__(self, pool: PackPool, device: torch.device) -> None:
        """Args: pool: of the pack. device: where all of it goes."""
        self.size, self.device = pool.size, device
        self.pixels = pool.pixels.flatten(2).to(device)
        self.fractions, self.known = pool.fractions.to(device), pool.known.to(device)
        self.survey = torch.from_numpy(pool.survey).to(device)
        self.weights = pool.weights.to(device)
        places = torch.arange(pool.size**2).view(1, 1, pool.size, pool.size).expand(ORIENTATIONS, -1, -1, -1)
        self._turned = dihedral(places, torch.arange(ORIENTATIONS)).flatten(1).to(device)  # [8, S * S]
        self._cumulative = _cumulative(self.weights)

    def __len__(self) -> int:
        return len(self.pixels)

    def turned(self, pixels: Tensor, orientation: Tensor) -> Tensor:
        """Images [B, 3, S * S], each in its orientation 0..7, as [B, 3, S, S] (`data.dihedral` by index)."""
        places = self._turned[orientation][:, None].expand(-1, pixels.shape[1], -1)
        return pixels.gather(2, places).view(*pixels.shape[:2], self.size, self.size)

    def labels(self, indices: Tensor) -> dict[str, Tensor]:
        """Conditions of some galaxies, nothing hidden."""
        return {
            "fractions": self.fractions[indices],
            "known": self.known[indices],
            "survey": self.survey[indices],
        }

    def batch(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random galaxies in random orientation, drawn by weight."""
        indices = _draw(self._cumulative, size, generator)
        orientation = torch.randint(ORIENTATIONS, (size,), generator=generator, device=self.device)
        return {"images": self.turned(self.pixels[indices], orientation), **self.labels(indices)}


class DeviceLatents:
    """Latents of the galaxies of a pool, fp16, in as many orientations as there was time for (for `FlowTask`).

    Attributes:
        pool: the galaxies.
        rows: [M] those that have latents, all of them unless the time ran out in the first orientation.
        latents: [O, M, C, h, w] float16, O whole orientations.
    """

    @torch.no_grad()
    def __init__(self, pool: DevicePool, autoencoder: Autoencoder, *, chunk: int, until: float) -> None:
        """Encode.

        Args:
            pool: the galaxies.
            autoencoder: in evaluation mode, on the device.
            chunk: galaxies encoded together.
            until: time (`time.monotonic`) after which no further chunk is begun, but for the first.
        """
        self.pool = pool
        order = _shuffled(len(pool), pool.device)
        whole: list[Tensor] = []
        for number in range(ORIENTATIONS):
            blocks: list[Tensor] = []
            for rows in torch.split(order, chunk):
                if (whole or blocks) and time.monotonic() > until:
                    break
                orientation = torch.full_like(rows, number)
                blocks.append(autoencoder.encode(to_unit(pool.turned(pool.pixels[rows], orientation))).half())
                _wait(pool.device)
            encoded = torch.cat(blocks) if blocks else None
            if encoded is None or (whole and len(encoded) < len(order)):
                break
            order = order[: len(encoded)]
            whole.append(encoded)
        self.rows, self.latents = order, torch.stack(whole)
        self._cumulative = _cumulative(pool.weights[order])

    def spread(self, sample: int = 4_000) -> float:
        """Mean over the latent values of their deviation between galaxies (d of flow.py)."""
        return float(self.latents[0, :sample].float().std(dim=0).mean())

    def batch(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random galaxies in random orientation, drawn by weight."""
        chosen = _draw(self._cumulative, size, generator)
        orientation = torch.randint(len(self.latents), (size,), generator=generator, device=self.pool.device)
        return {"latents": self.latents[orientation, chosen].float(), **self.pool.labels(self.rows[chosen])}


class DevicePairs:
    """Images beside their reconstructions, of as many galaxies as there was time for (for `GrainTask`).

    Attributes:
        pool: the galaxies.
        rows: [M] those that have a reconstruction.
        decoded: uint8 [M, 3, S * S].
    """

    @torch.no_grad()
    def __init__(self, pool: DevicePool, autoencoder: Autoencoder, *, chunk: int, until: float) -> None:
        """Encode and decode; the arguments are those of `DeviceLatents`."""
        self.pool = pool
        order = _shuffled(len(pool), pool.device)
        blocks: list[Tensor] = []
        for rows in torch.split(order, chunk):
            if blocks and time.monotonic() > until:
                break
            images = to_unit(pool.pixels[rows].view(-1, 3, pool.size, pool.size))
            blocks.append(to_pixels(autoencoder.decode(autoencoder.encode(images))).flatten(2))
            _wait(pool.device)
        self.decoded = torch.cat(blocks)
        self.rows = order[: len(self.decoded)]

    def spread(self, sample: int = 2_000) -> float:
        """Deviation of image minus reconstruction, in [-1, 1]."""
        images = self.pool.pixels[self.rows[:sample]]
        return max(float((to_unit(images) - to_unit(self.decoded[:sample])).std()), 1e-3)

    def batch(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random galaxies, all alike, in random orientation: `images`, `decoded`, `survey`."""
        device = self.pool.device
        chosen = torch.randint(len(self.rows), (size,), generator=generator, device=device)
        orientation = torch.randint(ORIENTATIONS, (size,), generator=generator, device=device)
        rows = self.rows[chosen]
        return {
            "images": self.pool.turned(self.pool.pixels[rows], orientation),
            "decoded": self.pool.turned(self.decoded[chosen], orientation),
            "survey": self.pool.survey[rows],
        }


def _shuffled(count: int, device: torch.device) -> Tensor:
    """A fixed random order, so that any beginning of it is a fair sample."""
    return torch.from_numpy(np.random.default_rng(0).permutation(count)).to(device)


def _cumulative(weights: Tensor) -> Tensor:
    """Cumulative shares, from above 0 to 1; summed on the CPU in double precision."""
    summed = weights.cpu().double().cumsum(0)
    return (summed / summed[-1]).float().to(weights.device)


def _draw(cumulative: Tensor, size: int, generator: torch.Generator) -> Tensor:
    place = torch.rand(size, generator=generator, device=cumulative.device)
    return torch.searchsorted(cumulative, place, right=True).clamp(max=len(cumulative) - 1)


def _wait(device: torch.device) -> None:
    """Let the device catch up, so that the clock is right."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
