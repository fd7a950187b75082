"""A classifier on disk: weights in safetensors only, and `galaxysd.json` with what its outputs mean.

    MODEL/classifier.safetensors  fp32
    MODEL/galaxysd.json           network, names of the outputs, temperature, training, versions, checksums
    MODEL/encoder/                the frozen encoder, of architecture galaxyemb
    MODEL/backbone/               configuration of a pretrained model, of architecture transformers:...

The folder alone is enough to classify. A missing, tampered or pickled file is refused by name.
"""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import nn

from galaxysd.catalog.tree import DecisionTree
from galaxysd.classifiers.network import PREPARATION, BackboneNetwork, ClassifierNetwork, ProbeNetwork, rebuild_network
from galaxysd.data.transforms import dihedral
from galaxysd.diffusion.folder import RECORD, read_json, refuse_changed, refuse_incomplete
from galaxysd.encoders.checkpoint import save_encoder
from galaxysd.encoders.galaxyemb import BLOCK, fingerprint
from galaxysd.errors import InputError
from galaxysd.io import sha256_of
from galaxysd.runs import versions
from galaxysd.settings import FrozenModel
from galaxysd.types import Floats, Pixels

FORMAT = 1
WEIGHTS = "classifier.safetensors"


class ClassifierRecord(FrozenModel):
    """`galaxysd.json`: what a folder of weights means."""

    format: int = FORMAT
    target: Literal["classes", "votes"] = Field(description="what the outputs are about")
    network: ClassifierNetwork
    outputs: tuple[str, ...] = Field(min_length=2, description="names of the classes, or answer columns of the tree")
    size: int = Field(ge=1, description="side of the images, px")
    temperature: float = Field(default=1.0, gt=0, description="what logits of classes are divided by")
    tree: DecisionTree | None = Field(default=None, description="of the votes; null for classes")
    training: dict[str, Any] = Field(default={}, description="settings, data and length of the training")
    versions: dict[str, str] = Field(default_factory=versions)
    sha256: dict[str, str] = Field(default={}, description="checksums of the other files")


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network with what its outputs mean; train.py and votes.py say what to do with them.

    Attributes:
        network: in evaluation mode.
        record: content of `galaxysd.json`.
    """

    network: nn.Module
    record: ClassifierRecord

    @cached_property
    def hash(self) -> str:
        """16 hex digits over weights and meaning."""
        meaning = self.record.model_dump_json(include={"target", "network", "outputs", "size", "temperature"})
        return fingerprint(self.network.state_dict(), meaning)

    @torch.inference_mode()
    def outputs(self, images: Pixels, orientations: int = 8) -> Floats:
        """Outputs of the network, mean over the first so many of the eight orientations.

        Always computed in equal blocks, the last one filled up, so that neighbours change nothing.

        Args:
            images: uint8 [N, S, S, 3].
            orientations: 1 to 8; turns and flips of each image.

        Returns:
            [N, K].

        Raises:
            InputError: not such images, or of another size than those of the training.
        """
        size = self.record.size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise InputError(
                f"images: expected uint8 [N, {size}, {size}, 3] as in training, not {images.dtype} {list(images.shape)}"
            )
        if not 1 <= orientations <= 8:
            raise InputError(f"orientations {orientations}: expected 1 to 8")
        device = next(self.network.parameters()).device
        found = np.empty((len(images), len(self.record.outputs)))
        for start in range(0, len(images), BLOCK):
            part = torch.from_numpy(np.ascontiguousarray(images[start : start + BLOCK].transpose(0, 3, 1, 2)))
            block = torch.zeros((BLOCK, 3, size, size), dtype=torch.uint8)
            block[: len(part)] = part
            total = torch.zeros(BLOCK, len(self.record.outputs), dtype=torch.float64)
            for turn in range(orientations):
                total += self.network(dihedral(block, torch.full((BLOCK,), turn)).to(device)).double().cpu()
            found[start : start + len(part)] = (total / orientations)[: len(part)].numpy()
        return found

    def save(self, folder: str | Path) -> Path:
        """Write the folder; it appears under its name only when complete.

        Args:
            folder: must not exist, or be an earlier classifier folder, which is replaced.

        Returns:
            The folder.

        Raises:
            InputError: the folder holds something else, or cannot be written.
        """
        folder = Path(folder)
        if folder.exists() and not (folder / WEIGHTS).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: exists and is not a classifier folder; choose another")
        temporary = folder.with_name(folder.name + ".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            tensors = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
            save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
            self._write_surroundings(temporary)
            record = self.record.model_copy(update={"sha256": {WEIGHTS: sha256_of(temporary / WEIGHTS)}})
            (temporary / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            temporary.replace(folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise InputError(f"{folder}: classifier cannot be written ({error})") from None
        return folder

    def _write_surroundings(self, folder: Path) -> None:
        network = self.network
        if isinstance(network, ProbeNetwork):
            save_encoder(folder / "encoder", network.encoder, name="frozen", size=self.record.size, training={})
        elif isinstance(network, BackboneNetwork) and network.preparation is not None:
            network.backbone.config.save_pretrained(folder / "backbone")
            network.preparation.write(folder / "backbone" / PREPARATION)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | None = None) -> Self:
        """Read a folder.

        Raises:
            InputError: a file is missing, tampered with, pickled, of another format, or about something else.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise InputError(f"classifier {str(folder)!r}: no such folder; train one with --recipe classifier")
        refuse_incomplete(folder, "a classifier", (RECORD, WEIGHTS), WEIGHTS)
        record = read_record(folder)
        refuse_changed(folder, record.sha256, (WEIGHTS,))
        network = rebuild_network(record.network, len(record.outputs), folder)
        try:
            network.load_state_dict(load((folder / WEIGHTS).read_bytes()))
        except (SafetensorError, RuntimeError) as error:
            raise InputError(f"{folder / WEIGHTS}: cannot be read ({str(error).splitlines()[0]})") from None
        return cls(network.to(device or torch.device("cpu")).eval(), record)


def read_record(folder: Path) -> ClassifierRecord:
    """What `galaxysd.json` of a classifier folder says.

    Raises:
        InputError: it cannot be read, or has another format.
    """
    record = ClassifierRecord.parse(read_json(folder / RECORD), str(folder / RECORD))
    if record.format != FORMAT:
        raise InputError(f"{folder / RECORD}: format {record.format} is not the one this version reads ({FORMAT})")
    return record
