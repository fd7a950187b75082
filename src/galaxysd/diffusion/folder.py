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
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion.autoencoder import Autoencoder, AutoencoderSettings
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.grain import GrainNetwork, GrainSettings
from galaxysd.diffusion.guidance import GuidanceSettings
from galaxysd.diffusion.network import NetworkSettings
from galaxysd.diffusion.samplers import Sampler
from galaxysd.errors import InputError
from galaxysd.io import sha256_of
from galaxysd.runs import versions
from galaxysd.settings import Settings

FORMAT = 2  # 1: a denoiser of pixels
CONFIG, RECORD, CARD = "config.json", "galaxysd.json", "README.md"
AUTOENCODER, DENOISER, GRAIN = "autoencoder.safetensors", "denoiser.safetensors", "grain.safetensors"
WEIGHTS = DENOISER
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
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
    if folder.exists() and not (folder / RECORD).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not a model folder; choose another")
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
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        dtype = torch.float16 if half else torch.float32
        for name, network in networks.items():
            tensors = {key: value.to(dtype).contiguous().cpu() for key, value in network.state_dict().items()}
            save_file(tensors, temporary / name, metadata={"format": "pt"})
        (temporary / CONFIG).write_text(config.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (temporary / CARD).write_text(card, encoding="utf-8")
        sums = {name: sha256_of(temporary / name) for name in (CONFIG, *networks)}
        record = record.model_copy(update={"sha256": sums})
        (temporary / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise InputError(f"{folder}: model cannot be written ({error})") from None


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


def _read_weights(path: Path, network: nn.Module) -> None:
    """Fill a network from a file; weights that are missing, of another shape or not finite are refused."""
    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
        network.load_state_dict({key: value.float() for key, value in tensors.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())[:300]})") from None
    broken = [key for key, value in tensors.items() if not (value.is_floating_point() and bool(value.isfinite().all()))]
    if broken:
        raise InputError(f"{path}: {broken[0]} holds values that are not finite; the weights are damaged")


def refuse_incomplete(folder: Path, kind: str, needed: Sequence[str], weights: str) -> None:
    """Make sure that a folder has its files and no pickle.

    Args:
        folder: to look at.
        kind: of folder, for the message.
        needed: names of its files.
        weights: where its weights belong.

    Raises:
        InputError: a file is missing, or may hold a pickle.
    """
    pickled = sorted(path.name for path in folder.rglob("*") if path.suffix in PICKLES)
    if pickled:
        raise InputError(f"{folder}: {pickled[0]} may hold a pickle, which is never read; weights belong in {weights}")
    for name in needed:
        if not (folder / name).is_file():
            raise InputError(f"{folder}: not {kind} folder, {name} is missing")


def refuse_changed(folder: Path, sums: Mapping[str, str], names: Sequence[str]) -> None:
    """Compare files with the checksums in the record.

    Raises:
        InputError: a file was changed.
    """
    for name in names:
        if sums.get(name) != sha256_of(folder / name):
            raise InputError(f"{folder / name}: does not match the checksum in {RECORD}; the file was changed")


def _open(folder: Path) -> tuple[ModelConfig, ModelRecord]:
    """Config and record of a model folder, with every file named there present and unchanged."""
    refuse_incomplete(folder, "a model", (RECORD,), WEIGHTS)
    values = read_json(folder / RECORD)
    if (found := values.get("format")) != FORMAT:
        former = "it draws pixels; train it anew, or use it with galaxysd 0.1"
        wanted = former if found == 1 else "another version of galaxysd wrote it"
        raise InputError(f"{folder / RECORD}: format {found} is not the one this version reads ({FORMAT}): {wanted}")
    record = ModelRecord.parse(values, str(folder / RECORD))
    refuse_incomplete(folder, "a model", (CONFIG, AUTOENCODER, *record.sha256), WEIGHTS)
    refuse_changed(folder, record.sha256, (CONFIG, AUTOENCODER, *record.sha256))
    config = ModelConfig.parse(read_json(folder / CONFIG), str(folder / CONFIG))
    needed = [name for name, shape in ((DENOISER, config.denoiser), (GRAIN, config.grain)) if shape is not None]
    refuse_incomplete(folder, "a model", needed, WEIGHTS)
    refuse_changed(folder, record.sha256, needed)
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
    _read_weights(folder / AUTOENCODER, autoencoder)
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
    _read_weights(folder / AUTOENCODER, autoencoder)
    surveys = tuple(survey.token for survey in record.surveys)
    denoiser = GalaxyDenoiser(config.denoiser, config.spread, record.tree, surveys)
    _read_weights(folder / DENOISER, denoiser.unet)
    grain = None
    if config.grain is not None:
        grain = GrainNetwork(config.grain)
        _read_weights(folder / GRAIN, grain)
        grain.to(device).eval()
    meaning = record.model_dump_json(include={"tree", "surveys", "sha256"})
    model_hash = hashlib.sha256(meaning.encode()).hexdigest()[:16]
    return Model(autoencoder.to(device).eval(), denoiser.to(device).eval(), grain, record, model_hash)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no text, no JSON, numbers too long, nested too deep
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object")
    return values
