"""A model on disk: the diffusers layout, weights in safetensors only, and `galaxysd.json` with all else that is needed.

    MODEL/model_index.json                      which classes
    MODEL/denoiser/config.json                  shape of the network
    MODEL/denoiser/diffusion_pytorch_model.safetensors
    MODEL/guide/                                the same two files of a weaker network, if there is one (guidance.py)
    MODEL/scheduler/scheduler_config.json       the default sampler
    MODEL/galaxysd.json                         tree, surveys, image scale, defaults, evidence, training, checksums
    MODEL/README.md                             the model card

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
from torch import Tensor

from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion.denoiser import GalaxyDenoiser, ImageScale
from galaxysd.diffusion.guidance import GuidanceSettings
from galaxysd.diffusion.network import GalaxyUNet, NetworkSettings
from galaxysd.diffusion.samplers import Sampler, make_scheduler
from galaxysd.errors import InputError
from galaxysd.io import sha256_of
from galaxysd.runs import versions
from galaxysd.settings import Settings

FORMAT = 1
DENOISER, GUIDE = "denoiser", "guide"
WEIGHTS = f"{DENOISER}/diffusion_pytorch_model.safetensors"
CONFIG = f"{DENOISER}/config.json"
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


@dataclass(frozen=True)
class Model:
    """A model folder in memory.

    Attributes:
        denoiser: in evaluation mode.
        guide: a weaker denoiser for autoguidance (guidance.py), or none.
        record: what `galaxysd.json` says.
        hash: 16 hex digits over weights and meaning.
    """

    denoiser: GalaxyDenoiser
    guide: GalaxyDenoiser | None
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
    denoiser: GalaxyDenoiser,
    record: ModelRecord,
    card: str,
    *,
    guide: GalaxyDenoiser | None = None,
    half: bool = True,
) -> None:
    """Write a model folder; it appears under its name only when complete.

    Args:
        folder: must not exist, or be an earlier model folder, which is replaced.
        denoiser: its weights are written, as fp16 if `half`.
        record: all else; its checksums are filled in here.
        card: text of the model card.
        guide: a weaker denoiser of the same tree, surveys and scale, for autoguidance.
        half: fp16, else fp32.

    Raises:
        InputError: the guide does not fit, or the folder holds something else, or cannot be written.
    """
    if folder.exists() and not (folder / RECORD).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not a model folder; choose another")
    if guide is not None and not guide.speaks_like(denoiser):
        raise InputError(f"{folder}: the guide has another tree, image scale or surveys than the model")
    networks = {DENOISER: denoiser.unet} if guide is None else {DENOISER: denoiser.unet, GUIDE: guide.unet}
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for name, network in networks.items():
            _write_network(temporary, name, network, torch.float16 if half else torch.float32)
        scheduler = make_scheduler(record.sampling.sampler, record.sampling.steps)
        scheduler.save_pretrained(temporary / "scheduler")
        index = {
            "_class_name": "GalaxyPipeline",
            **{name: ["galaxysd", "GalaxyUNet"] for name in networks},
            "scheduler": ["diffusers", type(scheduler).__name__],
        }
        (temporary / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(card, encoding="utf-8")
        sums = {path: sha256_of(temporary / path) for name in networks for path in _files(name)}
        record = record.model_copy(update={"sha256": sums})
        (temporary / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise InputError(f"{folder}: model cannot be written ({error})") from None


def _files(network: str) -> tuple[str, str]:
    """Weights and shape of a network, within a model folder."""
    return WEIGHTS.replace(DENOISER, network), CONFIG.replace(DENOISER, network)


def _write_network(folder: Path, name: str, network: GalaxyUNet, dtype: torch.dtype) -> None:
    weights, shape = _files(name)
    (folder / name).mkdir(parents=True)
    tensors = {key: value.to(dtype).contiguous().cpu() for key, value in network.state_dict().items()}
    save_file(tensors, folder / weights, metadata={"format": "pt"})
    config = {"_class_name": "GalaxyUNet", **network.settings.model_dump(mode="json")}
    (folder / shape).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _read_network(folder: Path, name: str, record: ModelRecord, device: torch.device) -> GalaxyDenoiser:
    weights, shape = _files(name)
    config = read_json(folder / shape)
    config.pop("_class_name", None)
    network = NetworkSettings.parse(config, str(folder / shape))
    denoiser = GalaxyDenoiser(network, record.scale, record.tree, tuple(survey.token for survey in record.surveys))
    try:
        tensors: dict[str, Tensor] = load((folder / weights).read_bytes())
        denoiser.unet.load_state_dict({key: value.float() for key, value in tensors.items()})
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{folder / weights}: cannot be read ({str(error).splitlines()[0]})") from None
    return denoiser.to(device).eval()


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


def load_model(name_or_folder: str | Path, device: torch.device) -> Model:
    """Read a model folder.

    Raises:
        InputError: a file is missing, tampered with, pickled, or from a newer format.
    """
    folder = resolve(name_or_folder)
    refuse_incomplete(folder, "a model", (RECORD, CONFIG, WEIGHTS), WEIGHTS)
    record = ModelRecord.parse(read_json(folder / RECORD), str(folder / RECORD))
    if record.format != FORMAT:
        raise InputError(f"{folder / RECORD}: format {record.format} is not the one this version reads ({FORMAT})")
    names = (DENOISER, GUIDE) if _files(GUIDE)[0] in record.sha256 else (DENOISER,)
    paths = [path for name in names for path in _files(name)]
    refuse_incomplete(folder, "a model", paths, WEIGHTS)
    refuse_changed(folder, record.sha256, paths)
    networks = {name: _read_network(folder, name, record, device) for name in names}
    meaning = record.model_dump_json(include={"tree", "surveys", "scale", "sha256"})
    model_hash = hashlib.sha256(meaning.encode()).hexdigest()[:16]
    return Model(networks[DENOISER], networks.get(GUIDE), record, model_hash)


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
