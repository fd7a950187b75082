"""A model on disk: the diffusers layout, weights in safetensors only, and `galaxysd.json` with all else that is needed.

    MODEL/model_index.json                      which classes
    MODEL/denoiser/config.json                  shape of the network
    MODEL/denoiser/diffusion_pytorch_model.safetensors
    MODEL/scheduler/scheduler_config.json       the default sampler
    MODEL/galaxysd.json                         tree, surveys, image scale, defaults, evidence, training, checksums
    MODEL/README.md                             the model card

The folder alone is enough to generate. A missing, tampered or pickled file is refused by name.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion.denoiser import GalaxyDenoiser, ImageScale
from galaxysd.diffusion.guidance import GuidanceSettings
from galaxysd.diffusion.network import NetworkSettings
from galaxysd.diffusion.samplers import Sampler, make_scheduler
from galaxysd.errors import InputError
from galaxysd.images.sources import sha256_of
from galaxysd.runs import versions
from galaxysd.settings import Settings

FORMAT = 1
WEIGHTS = "denoiser/diffusion_pytorch_model.safetensors"
CONFIG = "denoiser/config.json"
RECORD = "galaxysd.json"
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
    steps: int = Field(default=16, ge=1, le=1000, description="noise levels; Heun evaluates the network twice at each")
    guidance: GuidanceSettings = GuidanceSettings()


class ModelRecord(Settings):
    """`galaxysd.json`: what a folder of weights means."""

    format: int = FORMAT
    tree: DecisionTree
    surveys: tuple[SurveyInfo, ...] = Field(min_length=1)
    scale: ImageScale
    sampling: SamplingSettings = SamplingSettings()
    evidence: dict[str, int] = Field(default={}, description="training galaxies with each answer above one half")
    training: dict[str, Any] = Field(default={}, description="settings, data and length of the training")
    scores: dict[str, Any] = Field(default={}, description="measured quality, with n and seed")
    versions: dict[str, str] = Field(default_factory=versions)
    sha256: dict[str, str] = Field(default={}, description="checksums of the other files")


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


def save_model(folder: Path, denoiser: GalaxyDenoiser, record: ModelRecord, card: str, *, half: bool = True) -> None:
    """Write a model folder; it appears under its name only when complete.

    Args:
        folder: must not exist, or be an earlier model folder, which is replaced.
        denoiser: its weights are written, as fp16 if `half`.
        record: all else; its checksums are filled in here.
        card: text of the model card.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    if folder.exists() and not (folder / RECORD).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not a model folder; choose another")
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        (temporary / "denoiser").mkdir(parents=True)
        dtype = torch.float16 if half else torch.float32
        tensors = {name: value.to(dtype).contiguous().cpu() for name, value in denoiser.unet.state_dict().items()}
        save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
        config = {"_class_name": "GalaxyUNet", **denoiser.unet.settings.model_dump(mode="json")}
        (temporary / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        scheduler = make_scheduler(record.sampling.sampler, record.sampling.steps)
        scheduler.save_pretrained(temporary / "scheduler")
        index = {
            "_class_name": "GalaxyPipeline",
            "denoiser": ["galaxysd", "GalaxyUNet"],
            "scheduler": ["diffusers", type(scheduler).__name__],
        }
        (temporary / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(card, encoding="utf-8")
        sums = {name: sha256_of(temporary / name) for name in (WEIGHTS, CONFIG)}
        record = record.model_copy(update={"sha256": sums})
        (temporary / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise InputError(f"{folder}: model cannot be written ({error})") from None


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


def load_model(name_or_folder: str | Path, device: torch.device) -> tuple[GalaxyDenoiser, ModelRecord, str]:
    """Read a model folder.

    Returns:
        The denoiser in evaluation mode, the record, and the model hash (16 hex digits over weights and meaning).

    Raises:
        InputError: a file is missing, tampered with, pickled, or from a newer format.
    """
    folder = resolve(name_or_folder)
    refuse_incomplete(folder, "a model", (RECORD, CONFIG, WEIGHTS), WEIGHTS)
    record = ModelRecord.parse(read_json(folder / RECORD), str(folder / RECORD))
    if record.format != FORMAT:
        raise InputError(f"{folder / RECORD}: format {record.format} is not the one this version reads ({FORMAT})")
    refuse_changed(folder, record.sha256, (WEIGHTS, CONFIG))
    config = read_json(folder / CONFIG)
    config.pop("_class_name", None)
    network = NetworkSettings.parse(config, str(folder / CONFIG))
    denoiser = GalaxyDenoiser(network, record.scale, record.tree, tuple(survey.token for survey in record.surveys))
    try:
        tensors: dict[str, Tensor] = load((folder / WEIGHTS).read_bytes())
        denoiser.unet.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{folder / WEIGHTS}: cannot be read ({str(error).splitlines()[0]})") from None
    meaning = record.model_dump_json(include={"tree", "surveys", "scale", "sha256"})
    model_hash = hashlib.sha256(meaning.encode()).hexdigest()[:16]
    return denoiser.to(device).eval(), record, model_hash


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object")
    return values
