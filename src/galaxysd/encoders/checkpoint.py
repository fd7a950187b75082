"""GalaxyEmb on disk: weights in safetensors only, and `galaxysd.json` with what they mean.

    ENCODER/config.json           shape of the network and scale of its images
    ENCODER/encoder.safetensors   fp16
    ENCODER/galaxysd.json         training, versions, checksums
    ENCODER/README.md             the card

A missing, tampered or pickled file is refused by name.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, StrictUndefined
from pydantic import Field

from galaxysd.encoders.galaxyemb import PREPROCESSING, EncoderNetwork, EncoderSettings, GalaxyEncoder
from galaxysd.errors import InputError
from galaxysd.io import RECORD, check_sums, check_weights, load_weights, read_json, save_weights
from galaxysd.nn import ImageScale
from galaxysd.runs import versions
from galaxysd.settings import FrozenModel

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.json", "encoder.safetensors", "README.md"


class EncoderConfig(FrozenModel):
    """`config.json`: what is needed to build the network and feed it."""

    preprocessing: str = Field(default=PREPROCESSING, description="how images are prepared")
    size: int = Field(ge=1, description="side of the training images, px; other multiples work, less well")
    network: EncoderSettings
    scale: ImageScale


class EncoderRecord(FrozenModel):
    """`galaxysd.json`: where the weights come from."""

    format: int = FORMAT
    training: dict[str, Any] = Field(default={}, description="settings, data and length of the training")
    versions: dict[str, str] = Field(default_factory=versions)
    sha256: dict[str, str] = Field(default={}, description="checksums of the other files")


def save_encoder(folder: Path, network: EncoderNetwork, *, name: str, size: int, training: dict[str, Any]) -> None:
    """Write an encoder folder; it appears under its name only when complete.

    Args:
        folder: must not exist, or be an earlier encoder folder, which is replaced.
        network: its weights are written as fp16.
        name: of the recipe, for the card.
        size: side of the training images, px.
        training: for the record and the card.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    config = EncoderConfig(size=size, network=network.settings, scale=network.scale)
    record = EncoderRecord(training=training)
    save_weights(
        folder,
        "encoder",
        {WEIGHTS: (network.state_dict(), torch.float16)},
        lambda sums: record.model_copy(update={"sha256": sums}).model_dump_json(indent=1) + "\n",
        texts={CONFIG: config.model_dump_json(indent=2) + "\n"},
        extras=lambda place: _write_card(place, config, record, network, name),
    )


def read_encoder(folder: Path, name: str, device: torch.device) -> GalaxyEncoder:
    """Read an encoder folder.

    Args:
        folder: written by `save_encoder`.
        name: what the encoder is to be called.
        device: where to compute.

    Raises:
        InputError: a file is missing, tampered with, pickled, or of another format.
    """
    check_weights(folder, "an encoder", (RECORD, CONFIG, WEIGHTS), WEIGHTS)
    record = EncoderRecord.parse(read_json(folder / RECORD), str(folder / RECORD))
    if record.format != FORMAT:
        raise InputError(f"{folder / RECORD}: format {record.format} is not the one this version reads ({FORMAT})")
    check_sums(folder, record.sha256, (WEIGHTS, CONFIG))
    config = EncoderConfig.parse(read_json(folder / CONFIG), str(folder / CONFIG))
    if config.preprocessing != PREPROCESSING:
        raise InputError(f"{folder / CONFIG}: preprocessing {config.preprocessing!r} is not that of this version")
    network = EncoderNetwork(config.network, config.scale)
    load_weights(folder / WEIGHTS, network)
    return GalaxyEncoder(network, name, device)


def _write_card(folder: Path, config: EncoderConfig, record: EncoderRecord, network: EncoderNetwork, name: str) -> None:
    """The card as Markdown (template: card.md.jinja)."""
    template = (files("galaxysd.encoders") / "card.md.jinja").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    parameters = sum(weight.numel() for weight in network.parameters())
    text = environment.from_string(template).render(config=config, record=record, name=name, parameters=parameters)
    (folder / CARD).write_text(text, encoding="utf-8")
