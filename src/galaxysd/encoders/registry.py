"""Encoders by name, as `--encoder` takes them.

galaxyemb               the shipped encoder
FOLDER                  one trained with `galaxysd train --recipe encoder` (RUN/model)
transformers:NAME       a pretrained vision model (pretrained.py), by name or folder
zoobot:NAME             a pretrained Zoobot (pretrained.py), by name
pixels, untrained       baselines
"""

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from galaxysd.encoders.checkpoint import read_encoder
from galaxysd.encoders.galaxyemb import (
    EightOrientations,
    Encoder,
    EncoderNetwork,
    EncoderSettings,
    GalaxyEncoder,
    check_images,
    in_blocks,
)
from galaxysd.errors import InputError
from galaxysd.nn import ImageScale
from galaxysd.types import Features, Pixels

GRID = 16  # px, side of the shrunken image


class PixelEncoder:
    """The pixels themselves, in [-1, 1], shrunken to 16x16 by averaging."""

    name = "pixels"
    hash = hashlib.sha256(b"mean of pixels, 16x16, in [-1, 1]").hexdigest()[:16]
    dimension = 3 * GRID * GRID

    def features(self, images: Pixels) -> Features:
        """uint8 [N, S, S, 3] -> float32 [N, 768]."""
        check_images(images)
        return in_blocks(_shrink, np.ascontiguousarray(images), self.dimension)


def _shrink(pixels: Tensor) -> Tensor:
    return functional.adaptive_avg_pool2d(pixels.float() / 127.5 - 1, GRID).flatten(1)


def untrained(device: torch.device, *, seed: int = 0, settings: EncoderSettings | None = None) -> GalaxyEncoder:
    """GalaxyEmb's network with random weights: what architecture alone gives.

    Args:
        device: where to compute.
        seed: of the weights.
        settings: shape of the network, by default that of GalaxyEmb.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = EncoderNetwork(settings or EncoderSettings(), ImageScale())
    return GalaxyEncoder(network, "untrained", device)


SHIPPED = "galaxyemb"
TRANSFORMERS, ZOOBOT = "transformers:", "zoobot:"


def load_encoder(
    name_or_folder: str | Path, device: torch.device | None = None, *, orientations: Literal[1, 8] = 1
) -> Encoder:
    """The encoder of a name or folder.

    Args:
        name_or_folder: see above.
        device: where to compute, by default the CPU.
        orientations: 8 averages the features over the turns and flips of each image (`EightOrientations`).

    Raises:
        InputError: no such encoder, or it cannot be read.
    """
    encoder = _load(str(name_or_folder), device or torch.device("cpu"))
    return EightOrientations(encoder) if orientations == 8 else encoder


def _load(name: str, device: torch.device) -> Encoder:
    if name == "pixels":
        return PixelEncoder()
    if name == "untrained":
        return untrained(device)
    if name.startswith(TRANSFORMERS):
        from galaxysd.encoders.pretrained import TransformersEncoder

        return TransformersEncoder(name.removeprefix(TRANSFORMERS), device)
    if name.startswith(ZOOBOT):
        from galaxysd.encoders.pretrained import ZoobotEncoder

        return ZoobotEncoder(name.removeprefix(ZOOBOT), device)
    if name == SHIPPED:
        folder = Path(str(files("galaxysd.encoders") / "weights" / SHIPPED))
        if not folder.is_dir():
            raise InputError(
                f"encoder {SHIPPED!r}: no encoder is shipped with this version; train one with "
                "`galaxysd train --recipe encoder --data DATASET --out RUN` and name its folder, RUN/model"
            )
        return read_encoder(folder, SHIPPED, device)
    if not Path(name).is_dir():
        raise InputError(
            f"encoder {name!r}: neither a folder nor one of {SHIPPED}, {TRANSFORMERS}NAME, {ZOOBOT}NAME, pixels, "
            "untrained"
        )
    return read_encoder(Path(name), name, device)
