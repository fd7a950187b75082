"""Training latents: every galaxy of a pool through the encoder once, in all eight orientations.

In: a `GalaxyPool` and an autoencoder. Out: a flat file of fp16 latents [8, N, C, h, w] in the run folder, read at
random, and a note beside it of which weights and which galaxies it holds. A file of other weights or galaxies is never
used. The encoder is no exact symmetry of the square, so a turned image has latents of its own.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from galaxysd.data.transforms import dihedral
from galaxysd.diffusion.autoencoder import Autoencoder, to_unit
from galaxysd.diffusion.data import GalaxyPool
from galaxysd.errors import InputError
from galaxysd.io import read_json, write_atomically

ORIENTATIONS = 8
CHUNK = 64  # galaxies encoded together


class LatentPool:
    """A pool whose batches are latents (the `Data` protocol of training/fit.py).

    Attributes:
        pool: the galaxies and their labels.
        latents: [8, N, C, h, w] float16.
    """

    def __init__(self, pool: GalaxyPool, autoencoder: Autoencoder, weights: str, path: Path) -> None:
        """Open the cache, or write it.

        Args:
            pool: the galaxies.
            autoencoder: in evaluation mode.
            weights: hash of its weights.
            path: file of the cache; a note `<path>.json` lies beside it.

        Raises:
            InputError: the file is of other weights or galaxies, or was cut short, or the images have another size.
        """
        shape = autoencoder.settings
        if pool.size != shape.size:
            raise InputError(
                f"the datasets have images of {pool.size} px, the autoencoder reads {shape.size} px; "
                f"build the datasets with --size {shape.size}"
            )
        self.pool = pool
        size = shape.latent_size
        dimensions = (ORIENTATIONS, len(pool), shape.channels, size, size)
        note = {"autoencoder": weights, "galaxies": _identity(pool), "shape": list(dimensions)}
        beside = path.with_name(path.name + ".json")
        if beside.is_file():
            if read_json(beside) != note:
                raise InputError(f"{path}: holds latents of another autoencoder or of other galaxies; delete it")
            if not path.is_file() or path.stat().st_size != 2 * int(np.prod(dimensions)):
                raise InputError(f"{path}: is cut short; delete it and {beside.name}")
        else:
            _write(path, pool, autoencoder, dimensions)
            write_atomically(beside, json.dumps(note) + "\n")
        self.latents = np.memmap(path, np.float16, "r", shape=dimensions)

    def spread(self, sample: int = 4_000) -> float:
        """Mean over the latent values of their deviation between galaxies (d of flow.py)."""
        chosen = np.linspace(0, len(self.pool) - 1, min(sample, len(self.pool))).astype(np.int64)
        return float(self.latents[0][chosen].astype(np.float32).std(axis=0).mean())

    def batch(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random galaxies in random orientation, drawn by weight."""
        indices, orientation = self.pool.draw(size, generator)
        condition = self.pool.condition(indices)
        latents = self.latents[orientation.numpy(), indices].astype(np.float32)
        return {
            "latents": torch.from_numpy(latents),
            "fractions": condition.fractions,
            "known": condition.known,
            "survey": condition.survey,
        }


def _identity(pool: GalaxyPool) -> str:
    """Hash of the galaxies of a pool and of their pixels."""
    digest = hashlib.sha256("\n".join(pool.ids).encode())
    for index in np.linspace(0, len(pool) - 1, min(256, len(pool))).astype(np.int64):
        digest.update(pool.images(np.array([index])).numpy().tobytes())
    return digest.hexdigest()[:16]


@torch.no_grad()
def _write(path: Path, pool: GalaxyPool, autoencoder: Autoencoder, dimensions: tuple[int, ...]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    device = next(autoencoder.parameters()).device
    one = 2 * int(np.prod(dimensions[2:]))  # bytes of a galaxy
    starts = range(0, len(pool), CHUNK)
    console = Console(stderr=True)
    try:
        with temporary.open("wb") as file:  # not through a memory map, where a full disk kills without a word
            for start in track(starts, "encoding", console=console, disable=not console.is_terminal, transient=True):
                rows: npt.NDArray[np.int64] = np.arange(start, min(len(pool), start + CHUNK))
                images = pool.images(rows)
                for orientation in range(ORIENTATIONS):
                    turned = dihedral(images, torch.full((len(images),), orientation))
                    encoded = autoencoder.encode(to_unit(turned).to(device)).cpu().numpy()
                    file.seek((orientation * len(pool) + start) * one)
                    file.write(np.ascontiguousarray(encoded, np.float16).tobytes())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: latents cannot be written ({error})") from None
