"""A model on disk: three networks in safetensors, and `galaxysd.json` with all else that is needed.

    MODEL/config.json                shapes of the networks
    MODEL/autoencoder.safetensors    images <-> latents
    MODEL/denoiser.safetensors       the latent flow
    MODEL/grain.safetensors          the grain stage, if the model has one
    MODEL/galaxysd.json              tree, surveys, defaults, evidence, training, checksums
    MODEL/README.md                  the model card

The folder alone is enough to generate. A missing, tampered or pickled file is refused by name.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn

from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion.autoencoder import Autoencoder, AutoencoderSettings
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.grain import GrainNetwork, GrainSettings
from galaxysd.diffusion.guidance import GuidanceSettings
from galaxysd.diffusion.network import NetworkSettings
from galaxysd.diffusion.samplers import Sampler
from galaxysd.errors import InputError
from galaxysd.io import RECORD, check_sums, check_weights, load_weights, read_json, save_weights
from galaxysd.runs import versions
from galaxysd.settings import Settings

FORMAT = 2  # 1: a denoiser of pixels
CONFIG, CARD = "config.json", "README.md"
AUTOENCODER, DENOISER, GRAIN = "autoencoder.safetensors", "denoiser.safetensors", "grain.safetensors"
WEIGHTS = DENOISER
SHIPPED = ("mini",)


class SurveyInfo(Settings):
    """A survey token and what its images are."""

    token: str
    size: int = Field(ge=1, description="pixels")
    pixel_scale: float | None = Field(default=None, gt=0, description="arcsec per pixel of the generated image, if one")


class SamplingSettings(Settings):
    """How to sample."""

    sampler: Sampler = "dpm++2m"
    steps: int = Field(default=8, ge=1, le=1000, description="noise levels; Heun evaluates the network twice at each")
    guidance: GuidanceSettings = GuidanceSettings()


class ModelConfig(Settings):
    """`config.json`: what is needed to build the networks."""

    autoencoder: AutoencoderSettings
    denoiser: NetworkSettings | None = Field(default=None, description="null: an autoencoder alone")
    grain: GrainSettings | None = Field(default=None, description="null: no grain stage")
    spread: float = Field(default=1.0, gt=0, description="mean deviation of a latent value between galaxies")


class ModelRecord(Settings):
    """`galaxysd.json`: what a folder of weights means."""

    format: int = FORMAT
    tree: DecisionTree
    surveys: tuple[SurveyInfo, ...] = Field(min_length=1)
    sampling: SamplingSettings = SamplingSettings()
    evidence: dict[str, int] = Field(default={}, description="training galaxies with each answer above one half")
    evidence_by_survey: dict[str, dict[str, int]] = Field(
        default={}, description="the same for each survey, and under `all` the number of its galaxies"
    )
    training: dict[str, Any] = Field(default={}, description="settings, data and length of each stage")
    scores: dict[str, Any] = Field(default={}, description="measured quality, with n and seed")
    versions: dict[str, str] = Field(default_factory=versions)
    sha256: dict[str, str] = Field(default={}, description="checksums of the other files")


@dataclass(frozen=True)
class Model:
    """A model folder in memory, all networks in evaluation mode.

    Attributes:
        autoencoder: images <-> latents.
        denoiser: the latent flow.
        grain: the grain stage, or none.
        record: what `galaxysd.json` says.
        hash: 16 hex digits over weights and meaning.
    """

    autoencoder: Autoencoder
    denoiser: GalaxyDenoiser
    grain: GrainNetwork | None
    record: ModelRecord
    hash: str


def resolve(name_or_folder: str | Path) -> Path:
    """A shipped model by name, or a folder.

    Raises:
        InputError: neither.
    """
    if str(name_or_folder) in SHIPPED:
        return Path(str(files("galaxysd.diffusion") / "weights" / str(name_or_folder)))
    folder = Path(name_or_folder)
    if not folder.is_dir():
        raise InputError(f"model {str(name_or_folder)!r}: neither a shipped model ({', '.join(SHIPPED)}) nor a folder")
    return folder


def save_model(
    folder: Path,
    record: ModelRecord,
    card: str,
    *,
    autoencoder: Autoencoder,
    denoiser: GalaxyDenoiser | None = None,
    grain: GrainNetwork | None = None,
    half: bool = True,
) -> None:
    """Write a model folder; it appears under its name only when complete.

    Args:
        folder: must not exist, or be an earlier model folder, which is replaced.
        record: all that is no weight; its checksums are filled in here.
        card: text of the model card.
        autoencoder: its weights are written, as fp16 if `half`.
        denoiser: the same; none for a folder that holds an autoencoder alone.
        grain: the same; none for a model without.
        half: fp16, else fp32.

    Raises:
        InputError: the latents do not fit, or the folder holds something else, or cannot be written.
    """
    config = ModelConfig(
        autoencoder=autoencoder.settings,
        denoiser=None if denoiser is None else denoiser.unet.settings,
        grain=None if grain is None else grain.settings,
        spread=1.0 if denoiser is None else denoiser.spread,
    )
    _check_fit(config, str(folder))
    networks: dict[str, nn.Module] = {AUTOENCODER: autoencoder}
    if denoiser is not None:
        networks[DENOISER] = denoiser.unet
    if grain is not None:
        networks[GRAIN] = grain
    stored = torch.float16 if half else torch.float32

    def finished(sums: dict[str, str]) -> str:
        kept = {name: value for name, value in sums.items() if name != CARD}  # a card may be rewritten
        return record.model_copy(update={"sha256": kept}).model_dump_json(indent=1) + "\n"

    save_weights(
        folder,
        "model",
        {name: (network.state_dict(), stored) for name, network in networks.items()},
        finished,
        texts={CONFIG: config.model_dump_json(indent=1) + "\n", CARD: card},
    )


def _check_fit(config: ModelConfig, source: str) -> None:
    """The flow must draw the latents that the autoencoder reads."""
    if config.denoiser is None:
        return
    latents = (config.autoencoder.channels, config.autoencoder.latent_size)
    drawn = (config.denoiser.channels, config.denoiser.size)
    if latents != drawn:
        raise InputError(
            f"{source}: the autoencoder has {latents[0]} x {latents[1]} px latents, the denoiser draws {drawn[0]} x "
            f"{drawn[1]} px; train the denoiser on this autoencoder"
        )


def _open(folder: Path) -> tuple[ModelConfig, ModelRecord]:
    """Config and record of a model folder, with every file named there present and unchanged."""
    check_weights(folder, "a model", (RECORD,), WEIGHTS)
    values = read_json(folder / RECORD)
    if (found := values.get("format")) != FORMAT:
        former = "it draws pixels; train it anew, or use it with galaxysd 0.1"
        wanted = former if found == 1 else "another version of galaxysd wrote it"
        raise InputError(f"{folder / RECORD}: format {found} is not the one this version reads ({FORMAT}): {wanted}")
    record = ModelRecord.parse(values, str(folder / RECORD))
    check_weights(folder, "a model", (CONFIG, AUTOENCODER, *record.sha256), WEIGHTS)
    check_sums(folder, record.sha256, (CONFIG, AUTOENCODER, *record.sha256))
    config = ModelConfig.parse(read_json(folder / CONFIG), str(folder / CONFIG))
    needed = [name for name, shape in ((DENOISER, config.denoiser), (GRAIN, config.grain)) if shape is not None]
    check_weights(folder, "a model", needed, WEIGHTS)
    check_sums(folder, record.sha256, needed)
    _check_fit(config, str(folder))
    return config, record


def load_autoencoder(name_or_folder: str | Path, device: torch.device) -> tuple[Autoencoder, ModelRecord, str]:
    """The autoencoder of a model folder, the record, and 16 hex digits over its weights.

    Raises:
        InputError: as `load_model`.
    """
    folder = resolve(name_or_folder)
    config, record = _open(folder)
    autoencoder = Autoencoder(config.autoencoder)
    load_weights(folder / AUTOENCODER, autoencoder)
    return autoencoder.to(device).eval(), record, record.sha256[AUTOENCODER][:16]


def load_model(name_or_folder: str | Path, device: torch.device) -> Model:
    """Read a model folder.

    Raises:
        InputError: a file is missing, tampered with, pickled, or from another format, or it is an autoencoder alone.
    """
    folder = resolve(name_or_folder)
    config, record = _open(folder)
    if config.denoiser is None:
        raise InputError(f"{folder}: holds an autoencoder alone; train a generator on it (--autoencoder {folder})")
    autoencoder = Autoencoder(config.autoencoder)
    load_weights(folder / AUTOENCODER, autoencoder)
    surveys = tuple(survey.token for survey in record.surveys)
    denoiser = GalaxyDenoiser(config.denoiser, config.spread, record.tree, surveys)
    load_weights(folder / DENOISER, denoiser.unet)
    grain = None
    if config.grain is not None:
        grain = GrainNetwork(config.grain)
        load_weights(folder / GRAIN, grain)
        grain.to(device).eval()
    meaning = record.model_dump_json(include={"tree", "surveys", "sha256"})
    model_hash = hashlib.sha256(meaning.encode()).hexdigest()[:16]
    return Model(autoencoder.to(device).eval(), denoiser.to(device).eval(), grain, record, model_hash)
