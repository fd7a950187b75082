"""What was measured once is not measured again: results in files named by the hash of everything they depend on.

In: a name, the things a result depends on, a function that computes it. Out: the result, read from the folder where it
is there. Features, measurements and readers of real galaxies are the same for every generator, so reports that share a
cache pay for them once. The version of GalaxySD is part of every name, so that no older code answers for this one.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

import galaxysd
from galaxysd.errors import InputError
from galaxysd.io import replacing
from galaxysd.types import Pixels


def images_hash(images: Pixels) -> str:
    """16 hex digits of images uint8 [N, S, S, 3]: equal hashes mean equal pixels in equal order."""
    total = hashlib.sha256(repr(images.shape).encode())
    for image in images:
        total.update(np.ascontiguousarray(image).data)
    return total.hexdigest()[:16]


class Cache:
    """A folder of results.

    Attributes:
        folder: where they are; made when the first one is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def place(self, what: str, *parts: object) -> Path:
        """Path, without a suffix, of the result that depends on `parts`, whose `str` tells them apart."""
        text = "\n".join(str(part) for part in (galaxysd.__version__, *parts))
        return self.folder / f"{what}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def array(
        self, what: str, *parts: object, compute: Callable[[], npt.NDArray[np.generic]]
    ) -> npt.NDArray[np.float64]:
        """An array, computed at most once; float64 whatever it was.

        Raises:
            InputError: the file is damaged, or cannot be written.
        """
        path = self.place(what, *parts).with_suffix(".npy")
        if not path.is_file():
            with replacing(path) as partial, partial.open("wb") as file:
                np.save(file, compute(), allow_pickle=False)
        try:
            found: npt.NDArray[np.float64] = np.load(path, allow_pickle=False).astype(np.float64)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: cannot be read ({error}); delete it, it will be computed again") from None
        return found

    def table(self, what: str, *parts: object, compute: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """A table, computed at most once.

        Raises:
            InputError: the file is damaged, or cannot be written.
        """
        path = self.place(what, *parts).with_suffix(".parquet")
        if not path.is_file():
            with replacing(path) as partial:
                compute().write_parquet(partial)
        try:
            return pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            line = str(error).splitlines()[0]
            raise InputError(f"{path}: cannot be read ({line}); delete it, it will be computed again") from None
