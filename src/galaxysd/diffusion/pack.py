"""The training pack: all that a training needs, in one file that travels to another machine.

In: datasets and the recipes of the three stages. Out: a safetensors file with the galaxies of `train` and `val`,

    train.jpeg       uint8    the pictures as JPEG (quality 95, full colour resolution), one after the other
    train.offsets    int64    [N + 1] where each begins
    train.fractions  float16  [N, A]
    train.known      uint8    [N, Q]
    train.survey     int64    [N] index of the survey token
    train.weights    float32  [N] how often each is drawn, relative to the others

and the same for `val`. Its metadata hold `PackInfo` as JSON, a format number and a checksum; nothing in it is a pickle.
`read_pack` needs torch and small libraries only and refuses a file that is cut short, changed or of another format.
"""

import hashlib
import io
import json
import struct
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion.condition import Condition
from galaxysd.diffusion.data import GalaxyPool
from galaxysd.diffusion.folder import SurveyInfo
from galaxysd.diffusion.recipe import AutoencoderRecipe, GrainRecipe, Recipe, open_datasets
from galaxysd.errors import InputError
from galaxysd.io import replacing
from galaxysd.settings import Settings

FORMAT = 1
KEY = "galaxysd-pack"  # of the metadata of the file
SPLITS = ("train", "val")
QUALITY = 95  # of the JPEG pictures
STAGES = ("autoencoder", "flow", "grain")


class Recipes(Settings):
    """What to do in each of the three stages."""

    autoencoder: AutoencoderRecipe
    flow: Recipe
    grain: GrainRecipe

    @classmethod
    def load(cls, flow: str | Path = "mini", overrides: Sequence[str] = ()) -> Self:
        """The recipe of a generator with those of its other stages.

        Args:
            flow: a built-in recipe or a YAML file; `<flow>-autoencoder` and `<flow>-grain` beside it are taken if they
                exist, else those of `mini`.
            overrides: `key.path=value` for the flow, or with `autoencoder.`, `flow.` or `grain.` in front.

        Raises:
            InputError: no such recipe, or an override that does not fit.
        """
        path = Path(flow)
        autoencoder, grain = (path.with_name(f"{path.stem}-{stage}{path.suffix}") for stage in ("autoencoder", "grain"))
        if not autoencoder.is_file():
            autoencoder = Path("mini-autoencoder")
        if not grain.is_file():
            grain = Path("mini-grain")
        recipes = cls(
            autoencoder=AutoencoderRecipe.load(str(autoencoder)),
            flow=Recipe.load(flow),
            grain=GrainRecipe.load(str(grain)),
        )
        return recipes.overridden(overrides)

    def overridden(self, overrides: Sequence[str]) -> Self:
        """These recipes with some settings replaced, see `load`."""
        known = [item if item.partition(".")[0] in STAGES else f"flow.{item}" for item in overrides]
        return super().overridden(known)


class PackInfo(Settings):
    """What a pack holds, beside the tensors."""

    tree: DecisionTree
    surveys: tuple[SurveyInfo, ...] = Field(min_length=1)
    size: int = Field(ge=1, description="side of the images, px")
    ids: dict[str, tuple[str, ...]] = Field(description="`survey:id` of the galaxies of each split")
    evidence: dict[str, int]
    evidence_by_survey: dict[str, dict[str, int]]
    counts: dict[str, Any] = Field(description="galaxies, those of each survey, and how many were withheld")
    datasets: tuple[str, ...] = Field(description="survey and hash of the inputs of each dataset")
    recipes: Recipes


class PackPool:
    """The galaxies of one split in memory (protocol `Pool` of data.py).

    Attributes:
        size: side of the images, px.
        pixels: uint8 [N, 3, S, S].
        fractions: [N, A] float32, 0 where unknown.
        known: [N, Q] bool.
        survey: [N] index of the survey token.
        weights: [N] how often each is drawn, relative to the others.
    """

    def __init__(self, tensors: dict[str, Tensor], split: str, size: int) -> None:
        """Args: tensors: of the file. split: train or val. size: side of the images, px."""
        self.size = size
        self.fractions = tensors[f"{split}.fractions"].float()
        self.known = tensors[f"{split}.known"].bool()
        self.survey: npt.NDArray[np.int64] = tensors[f"{split}.survey"].numpy()
        self.weights = tensors[f"{split}.weights"]
        self.pixels = _pictures(tensors[f"{split}.jpeg"].numpy(), tensors[f"{split}.offsets"].tolist(), size)

    def __len__(self) -> int:
        return len(self.survey)

    def images(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """Pixels of some galaxies, uint8 [B, 3, S, S]."""
        return self.pixels[torch.from_numpy(indices)]

    def condition(self, indices: npt.NDArray[np.int64]) -> Condition:
        """Conditions of some galaxies, nothing hidden."""
        rows = torch.from_numpy(indices)
        return Condition(self.fractions[rows], self.known[rows], torch.from_numpy(self.survey)[rows])


@dataclass(frozen=True)
class Pack:
    """A pack in memory.

    Attributes:
        info: what it holds.
        train: galaxies to learn from.
        val: galaxies to watch the progress with.
        hash: 16 hex digits over its content.
    """

    info: PackInfo
    train: PackPool
    val: PackPool
    hash: str


def write_pack(
    datasets: Sequence[str | Path], path: str | Path, *, recipes: Recipes, limit: int | None = None
) -> dict[str, Any]:
    """Write the pack of some datasets.

    Args:
        datasets: dataset folders (`galaxysd catalog build`).
        path: file to write; it appears when it is complete.
        recipes: what to do with it. The data settings of the flow select the galaxies for all stages.
        limit: use at most so many galaxies of each dataset.

    Returns:
        `pack`, `galaxies`, `bytes`, `hash`.

    Raises:
        InputError: the datasets do not go together or with the recipes, or the disk is full.
    """
    opened = open_datasets(datasets)
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; --pack names the file to write")
    data = recipes.flow.data
    recipes = recipes.model_copy(
        update={
            "autoencoder": recipes.autoencoder.model_copy(update={"data": data}),
            "grain": recipes.grain.model_copy(update={"data": data}),
        }
    )
    tensors: dict[str, Tensor] = {}
    with replacing(path) as partial:
        with tempfile.TemporaryDirectory(dir=partial.parent) as folder:
            pools = {split: GalaxyPool(opened, split, data, Path(folder), limit=limit) for split in SPLITS}
            for split, pool in pools.items():
                tensors |= _tensors(split, pool)
        pool = pools["train"]
        _check_size(recipes, pool.size)
        scales = {dataset.survey: dataset.info.pixel_scale for dataset in reversed(opened)}
        info = PackInfo(
            tree=pool.tree,
            surveys=tuple(SurveyInfo(token=name, size=pool.size, pixel_scale=scales[name]) for name in pool.surveys),
            size=pool.size,
            ids={split: tuple(pools[split].ids) for split in SPLITS},
            evidence=pool.evidence(),
            evidence_by_survey=pool.evidence_by_survey(),
            counts=pool.describe(),
            datasets=tuple(f"{dataset.survey} {dataset.info.inputs}" for dataset in opened),
            recipes=recipes,
        )
        values = info.model_dump(mode="json")
        checksum = _checksum(tensors, values)
        head = {"format": FORMAT, "sha256": checksum, "info": values}
        # One entry, since safetensors writes several in random order, and the same data must give the same file.
        save_file(tensors, partial, metadata={KEY: json.dumps(head, ensure_ascii=False)})
    return {
        "pack": str(path),
        "galaxies": sum(len(pool) for pool in pools.values()),
        "bytes": path.stat().st_size,
        "hash": checksum[:16],
    }


def read_pack(path: str | Path) -> Pack:
    """Read a pack whole.

    Raises:
        InputError: the file cannot be read, is cut short, was changed, or is of another format.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    head = _head(content, path)
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise InputError(f"{path}: is damaged ({error}); copy it again") from None
    del content
    checksum = _checksum(tensors, head["info"])
    if checksum != head["sha256"]:
        raise InputError(f"{path}: does not match its checksum; it was changed or damaged, copy it again")
    info = PackInfo.parse(head["info"], str(path))
    train, val = (PackPool(tensors, split, info.size) for split in SPLITS)
    return Pack(info, train, val, checksum[:16])


def _head(content: bytes, path: Path) -> dict[str, Any]:
    """Format, checksum and info from the head of the file, whose format and length are checked."""
    other = InputError(f"{path}: is not a training pack; `galaxysd train --pack FILE` writes one")
    try:
        (length,) = struct.unpack_from("<Q", content)
        if length < 2 or content[8:9] != b"{":
            raise other
        if len(content) < 8 + length:
            raise _cut(path, len(content))
        entries = json.loads(content[8 : 8 + length])
        head: dict[str, Any] = json.loads(entries.pop("__metadata__")[KEY])
        found, _, _ = head["format"], head["sha256"], head["info"]
        end = 8 + length + max(entry["data_offsets"][1] for entry in entries.values())
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        raise other from None
    if found != FORMAT:
        raise InputError(
            f"{path}: pack of format {found}, this version reads {FORMAT}; write it again with this version"
        )
    if len(content) < end:
        raise _cut(path, len(content), end)
    return head


def _cut(path: Path, found: int, wanted: int | None = None) -> InputError:
    of = "" if wanted is None else f" of {wanted:,}"
    return InputError(f"{path}: is cut short ({found:,}{of} bytes); copy it again")


def _check_size(recipes: Recipes, size: int) -> None:
    wanted = recipes.autoencoder.network.size
    if wanted != size:
        raise InputError(
            f"the datasets have images of {size} px, the recipe is for {wanted} px; build them with --size {wanted} or "
            f"set autoencoder.network.size={size}"
        )


def _tensors(split: str, pool: GalaxyPool) -> dict[str, Tensor]:
    sizes, blocks = [0], []
    for start in range(0, len(pool), 256):
        images = pool.images(np.arange(start, min(len(pool), start + 256)))
        for image in images.permute(0, 2, 3, 1).numpy():
            blocks.append(_jpeg(image))
            sizes.append(len(blocks[-1]))
    return {
        f"{split}.jpeg": torch.from_numpy(np.frombuffer(b"".join(blocks), np.uint8).copy()),
        f"{split}.offsets": torch.from_numpy(np.cumsum(sizes, dtype=np.int64)),
        f"{split}.fractions": torch.from_numpy(pool.fractions).half(),
        f"{split}.known": torch.from_numpy(pool.known).to(torch.uint8),
        f"{split}.survey": torch.from_numpy(pool.survey).long(),
        f"{split}.weights": torch.from_numpy(pool.weights).float(),
    }


def _jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()


def _pictures(data: npt.NDArray[np.uint8], offsets: Sequence[int], size: int) -> Tensor:
    """All pictures, uint8 [N, 3, S, S]."""
    pixels = np.empty((len(offsets) - 1, 3, size, size), np.uint8)

    def fill(indices: Iterable[int]) -> None:
        for index in indices:
            with Image.open(io.BytesIO(data[offsets[index] : offsets[index + 1]].tobytes())) as picture:
                pixels[index] = np.asarray(picture).transpose(2, 0, 1)

    with ThreadPoolExecutor() as workers:  # Pillow decodes without Python's lock
        list(workers.map(fill, (range(start, min(len(pixels), start + 256)) for start in range(0, len(pixels), 256))))
    return torch.from_numpy(pixels)


def _checksum(tensors: dict[str, Tensor], info: dict[str, Any]) -> str:
    """SHA-256 of the info in its canonical form and of all tensors."""
    digest = hashlib.sha256(json.dumps(info, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        values = tensors[name].contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.numpy().data)
    return digest.hexdigest()
