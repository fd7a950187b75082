"""Checkpoints of a training run: everything that exact resume needs, in safetensors and JSON, never pickle.

    RUN/checkpoint-000000640000/model.safetensors, average.safetensors, optimizer.safetensors, state.json

A checkpoint is written under a temporary name and renamed, so an interrupted write leaves the previous one in force.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from galaxysd.errors import InputError
from galaxysd.training.ema import ExponentialMovingAverage

PREFIX = "checkpoint-"


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint in a run folder."""
    found = sorted(path for path in folder.glob(f"{PREFIX}*") if path.suffix != ".tmp")
    return found[-1] if found else None


def _optimizer_tensors(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    tensors = {}
    for name, parameter in model.named_parameters():
        for optimizer in optimizers:
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{name}:{key}"] = value.detach().contiguous()
    return tensors


def save(
    folder: Path,
    model: nn.Module,
    average: ExponentialMovingAverage,
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    images_seen: int,
    seconds: float,
) -> Path:
    """Write a checkpoint and delete older ones.

    Raises:
        InputError: the disk is full or not writable.
    """
    target = folder / f"{PREFIX}{images_seen:012d}"
    temporary = target.with_suffix(".tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        weights = {name: value.contiguous() for name, value in model.state_dict().items()}
        averaged = {name: value.contiguous() for name, value in average.weights.items()}
        save_file(weights, temporary / "model.safetensors")
        save_file(averaged, temporary / "average.safetensors")
        save_file(_optimizer_tensors(model, optimizers), temporary / "optimizer.safetensors")
        state = {"images_seen": images_seen, "seconds": seconds}
        (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise InputError(f"{target}: checkpoint cannot be written ({error})") from None
    for older in folder.glob(f"{PREFIX}*"):
        if older != target:
            shutil.rmtree(older)
    return target


def load(
    path: Path, model: nn.Module, average: ExponentialMovingAverage, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Any]:
    """Put a checkpoint into model, average and optimizers; returns its state.

    Raises:
        InputError: a file is missing, damaged, or of another model.
    """
    try:
        weights = load_file(path / "model.safetensors")
        averaged = load_file(path / "average.safetensors")
        moments = load_file(path / "optimizer.safetensors")
        state: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
        model.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: checkpoint cannot be read ({str(error).splitlines()[0]})") from None
    for name, value in averaged.items():
        average.weights[name].copy_(value)
    parameters = dict(model.named_parameters())
    owner = {
        weight: optimizer for optimizer in optimizers for group in optimizer.param_groups for weight in group["params"]
    }
    for key, value in moments.items():
        name, _, moment = key.rpartition(":")
        parameter = parameters[name]
        layout = value.to(parameter.device) if value.ndim == 0 else torch.empty_like(parameter).copy_(value)
        owner[parameter].state[parameter][moment] = layout
    return state
