"""Checkpoints of a training run: everything that exact resume needs, in safetensors and JSON, never pickle.

    RUN/checkpoint-000000640000/model.safetensors, average.safetensors, average-long.safetensors,
                                optimizer.safetensors, state.json
    RUN/average-000000640000-0.05.safetensors    a stored average, fp16, one of two at every snapshot (ema.py)

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
from galaxysd.io import write_atomically
from galaxysd.training.ema import ExponentialMovingAverage, Snapshot

PREFIX = "checkpoint-"
AVERAGES = ("average.safetensors", "average-long.safetensors")


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
    averages: Sequence[ExponentialMovingAverage],
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
    state = json.dumps({"images_seen": images_seen, "seconds": seconds})
    try:
        if target.is_dir():  # the same weights; to replace them would leave a moment without any
            write_atomically(target / "state.json", state)
            return target
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        weights = {name: value.contiguous() for name, value in model.state_dict().items()}
        save_file(weights, temporary / "model.safetensors")
        for name, average in zip(AVERAGES, averages, strict=True):
            save_file({key: value.contiguous() for key, value in average.weights.items()}, temporary / name)
        save_file(_optimizer_tensors(model, optimizers), temporary / "optimizer.safetensors")
        (temporary / "state.json").write_text(state, encoding="utf-8")
        temporary.replace(target)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise InputError(f"{target}: checkpoint cannot be written ({error})") from None
    for older in folder.glob(f"{PREFIX}*"):
        if older != target:
            shutil.rmtree(older)
    return target


def _refuse_damaged(file: Path, stored: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Weights must be those of the model: names, shapes and types, all of them finite."""
    for name in sorted(own.keys() | stored.keys()):
        if name not in stored or name not in own:
            raise InputError(f"{file}: {name} is {'missing' if name in own else 'not of this model'}")
        found, wanted = stored[name], own[name]
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            raise InputError(
                f"{file}: {name} is {found.dtype} {tuple(found.shape)}, the model has {wanted.dtype} "
                f"{tuple(wanted.shape)}; delete this checkpoint"
            )
        if not bool(found.isfinite().all()):
            raise InputError(f"{file}: {name} holds values that are not finite; delete this checkpoint")


def load(
    path: Path,
    model: nn.Module,
    averages: Sequence[ExponentialMovingAverage],
    optimizers: Sequence[torch.optim.Optimizer],
) -> dict[str, Any]:
    """Put a checkpoint into model, average and optimizers; returns its state.

    Raises:
        InputError: a file is missing, damaged, or of another model.
    """
    parameters = dict(model.named_parameters())
    try:
        weights = load_file(path / "model.safetensors")
        averaged = [load_file(path / name) for name in AVERAGES]
        moments = load_file(path / "optimizer.safetensors")
        state: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
        state = {"images_seen": int(state["images_seen"]), "seconds": float(state["seconds"])}
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: checkpoint cannot be read ({' '.join(str(error).split())})") from None
    own = model.state_dict()
    for file, stored in zip(("model.safetensors", *AVERAGES), (weights, *averaged), strict=True):
        _refuse_damaged(path / file, stored, own)
    if state["images_seen"] and not moments:
        raise InputError(f"{path / 'optimizer.safetensors'}: is empty; delete this checkpoint")
    for key, value in moments.items():
        parameter = parameters.get(key.rpartition(":")[0])
        fits = parameter is not None and value.shape in ((), parameter.shape)
        if not fits or not bool(value.isfinite().all()):
            what = "is not finite" if fits else "is not of this model"
            raise InputError(f"{path / 'optimizer.safetensors'}: {key} {what}; delete this checkpoint")
    model.load_state_dict(weights)
    for average, stored in zip(averages, averaged, strict=True):
        for name, value in stored.items():
            average.weights[name].copy_(value)
    owner = {
        weight: optimizer for optimizer in optimizers for group in optimizer.param_groups for weight in group["params"]
    }
    for key, value in moments.items():
        name, _, moment = key.rpartition(":")
        parameter = parameters[name]
        layout = value.to(parameter.device) if value.ndim == 0 else torch.empty_like(parameter).copy_(value)
        owner[parameter].state[parameter][moment] = layout
    return state


def save_averages(folder: Path, averages: Sequence[ExponentialMovingAverage], images_seen: int) -> None:
    """Store the averages of now, fp16, for `ema.synthesise`.

    Raises:
        InputError: the disk is full or not writable.
    """
    for average in averages:
        path = folder / f"average-{images_seen:012d}-{average.fraction:g}.safetensors"
        temporary = path.with_suffix(".tmp")
        try:
            save_file({name: value.half().contiguous().cpu() for name, value in average.weights.items()}, temporary)
            temporary.replace(path)
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            raise InputError(f"{path}: average cannot be written ({error})") from None


def stored_averages(folder: Path) -> list[Snapshot]:
    """All averages that a run has stored, the first ones first.

    Raises:
        InputError: one of them is damaged.
    """
    found = []
    for path in sorted(folder.glob("average-*.safetensors")):
        try:
            _, images_seen, fraction = path.name.removesuffix(".safetensors").split("-", 2)
            found.append(Snapshot(float(fraction), int(images_seen), load_file(path)))
        except (OSError, SafetensorError, ValueError) as error:
            raise InputError(f"{path}: average cannot be read ({error}); delete it") from None
    return found
