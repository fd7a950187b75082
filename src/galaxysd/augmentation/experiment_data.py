"""Everything that the runs of an augmentation experiment share, in a folder that several processes read at once.

    BENCH/train/, test/       images.npy, table.parquet (`id`, `label`, `ra`, `dec`, `synthetic`)
    BENCH/synthetic galaxies-<pool>/      the same, and copied.npy: which synthetic galaxies the memory test refuses
    BENCH/features-<role>/    <set>.npy, float32 [N, D], of each of these sets
    BENCH/encoder-<role>/     the encoder, if a classifier can be made of it and a probe
    BENCH/data.json          names of the classes, pools and roles

Pixels are mapped into memory, so that worker processes share them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.encoders.checkpoint import save_encoder
from galaxysd.encoders.galaxyemb import EightOrientations, Encoder, GalaxyEncoder
from galaxysd.io import replacing, write_atomically
from galaxysd.types import Features, Flags

INDEX = "data.json"
CLOSE = 256  # images of a set that are encoded at a time


@dataclass(frozen=True)
class ExperimentData:
    """What every run of an experiment works with.

    Attributes:
        classes: names of the K classes.
        train: real galaxies to draw shots from.
        test: real galaxies to measure with.
        synthetic galaxies: pools of synthetic galaxies by name.
        copied: synthetic galaxies of each pool that the memory test refuses.
        features: by role of the encoder, then by set (`train`, `test`, names of pools).
        encoders: folders of those encoders that a classifier can be made of, by role.
    """

    classes: tuple[str, ...]
    train: GalaxySet
    test: GalaxySet
    synthetic: Mapping[str, GalaxySet]
    copied: Mapping[str, Flags]
    features: Mapping[str, Mapping[str, Features]]
    encoders: Mapping[str, Path]

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Open a folder that `write_experiment_data` finished."""
        folder = Path(folder)
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        sets = ("train", "test", *index["pools"])
        return cls(
            classes=tuple(index["classes"]),
            train=read_examples(folder / "train"),
            test=read_examples(folder / "test"),
            synthetic={name: read_examples(folder / f"synthetic-{name}") for name in index["pools"]},
            copied={name: _array(folder / f"synthetic-{name}" / "copied.npy") for name in index["pools"]},
            features={
                role: {name: _array(folder / f"features-{role}" / f"{name}.npy") for name in sets}
                for role in index["roles"]
            },
            encoders={role: place for role in index["roles"] if (place := folder / f"encoder-{role}").is_dir()},
        )


def write_experiment_data(
    folder: Path,
    classes: tuple[str, ...],
    train: GalaxySet,
    test: GalaxySet,
    synthetic: Mapping[str, GalaxySet],
    copied: Mapping[str, Flags],
    encoders: Mapping[str, Encoder],
) -> None:
    """Write the folder; parts that are there are kept, since the run folder around them says what they are made of.

    Args:
        folder: for the data.
        classes: names.
        train, test: real galaxies.
        synthetic galaxies: pools by name.
        copied: what the memory test refuses of each.
        encoders: by role.
    """
    write_examples(folder / "train", train)
    write_examples(folder / "test", test)
    for name, pool in synthetic.items():
        write_examples(folder / f"synthetic-{name}", pool)
        _save(folder / f"synthetic-{name}" / "copied.npy", copied[name])
    for role, encoder in encoders.items():
        if isinstance(encoder, EightOrientations) and isinstance(encoder.encoder, GalaxyEncoder):
            network, size = encoder.encoder.network, train.size
            save_encoder(folder / f"encoder-{role}", network, name=encoder.encoder.name, size=size, training={})
        for name, examples in {"train": train, "test": test, **synthetic}.items():
            path = folder / f"features-{role}" / f"{name}.npy"
            if not path.is_file():
                starts = range(0, len(examples), CLOSE)
                found = [encoder.features(np.ascontiguousarray(examples.images[at : at + CLOSE])) for at in starts]
                _save(path, np.concatenate(found))
    index = {"classes": classes, "pools": list(synthetic), "roles": list(encoders)}
    write_atomically(folder / INDEX, json.dumps(index, indent=2) + "\n")


def write_examples(folder: Path, examples: GalaxySet) -> None:
    """Write examples as a folder, once."""
    if (folder / "table.parquet").is_file():
        return
    _save(folder / "images.npy", examples.images)
    table = {"id": examples.ids, "label": examples.labels, "ra": examples.ra, "dec": examples.dec}
    with replacing(folder / "table.parquet") as partial:
        pl.DataFrame({**table, "synthetic": examples.synthetic}).write_parquet(partial)


def read_examples(folder: Path) -> GalaxySet:
    """GalaxySet of a folder; their pixels stay on disk until they are used."""
    table = pl.read_parquet(folder / "table.parquet")
    return GalaxySet(
        np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False),
        table["id"].to_list(),
        labels=table["label"].to_numpy(),
        synthetic=table["synthetic"].to_numpy(),
        ra=table["ra"].to_numpy(),
        dec=table["dec"].to_numpy(),
    )


def _array(path: Path) -> Any:
    return np.load(path, allow_pickle=False)


def _save(path: Path, values: npt.NDArray[np.generic]) -> None:
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, values, allow_pickle=False)
