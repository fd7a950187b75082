"""GalaxyEmb on disk: weights in safetensors only, and `galaxysd.json` with what they mean.

    ENCODER/config.json           shape of the network and scale of its images
    ENCODER/encoder.safetensors   fp16
    ENCODER/galaxysd.json         training, versions, checksums
    ENCODER/README.md             the card

A missing, tampered or pickled file is refused by name.
"""

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, StrictUndefined
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from galaxysd.diffusion.folder import RECORD, read_json, refuse_changed, refuse_incomplete
from galaxysd.encoders.galaxyemb import PREPROCESSING, EncoderNetwork, EncoderSettings, GalaxyEncoder
from galaxysd.errors import InputError
from galaxysd.io import sha256_of
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
    if folder.exists() and not (folder / WEIGHTS).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not an encoder folder; choose another")
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    config = EncoderConfig(size=size, network=network.settings, scale=network.scale)
    try:
        temporary.mkdir(parents=True)
        tensors = {key: value.to(torch.float16).contiguous().cpu() for key, value in network.state_dict().items()}
        save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
        (temporary / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        sums = {key: sha256_of(temporary / key) for key in (WEIGHTS, CONFIG)}
        record = EncoderRecord(training=training, sha256=sums)
        (temporary / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (temporary / CARD).write_text(_card(config, record, network, name), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise InputError(f"{folder}: encoder cannot be written ({error})") from None


def read_encoder(folder: Path, name: str, device: torch.device) -> GalaxyEncoder:
    """Read an encoder folder.

    Args:
        folder: written by `save_encoder`.
        name: what the encoder is to be called.
        device: where to compute.

    Raises:
        InputError: a file is missing, tampered with, pickled, or of another format.
    """
    refuse_incomplete(folder, "an encoder", (RECORD, CONFIG, WEIGHTS), WEIGHTS)
    record = EncoderRecord.parse(read_json(folder / RECORD), str(folder / RECORD))
    if record.format != FORMAT:
        raise InputError(f"{folder / RECORD}: format {record.format} is not the one this version reads ({FORMAT})")
    refuse_changed(folder, record.sha256, (WEIGHTS, CONFIG))
    config = EncoderConfig.parse(read_json(folder / CONFIG), str(folder / CONFIG))
    if config.preprocessing != PREPROCESSING:
        raise InputError(f"{folder / CONFIG}: preprocessing {config.preprocessing!r} is not that of this version")
    network = EncoderNetwork(config.network, config.scale)
    try:
        tensors = load((folder / WEIGHTS).read_bytes())
        network.load_state_dict({key: value.float() for key, value in tensors.items()})
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{folder / WEIGHTS}: cannot be read ({str(error).splitlines()[0]})") from None
    return GalaxyEncoder(network, name, device)


def _card(config: EncoderConfig, record: EncoderRecord, network: EncoderNetwork, name: str) -> str:
    """The card as Markdown (template: card.md.jinja)."""
    template = (files("galaxysd.encoders") / "card.md.jinja").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    parameters = sum(weight.numel() for weight in network.parameters())
    return environment.from_string(template).render(config=config, record=record, name=name, parameters=parameters)
