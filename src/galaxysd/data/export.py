"""Single galaxies and tables of them, written with their provenance: PNG, FITS and Parquet (Hugging Face image layout).

In go uint8 pixels (or the float arrays of a network) and a flat mapping of provenance (prompt, seed, model hash, …);
every file appears under its name only when it is complete.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from PIL import Image, PngImagePlugin

from galaxysd.data.decode import DISPLAY_UNIT, encode_png
from galaxysd.io import replacing
from galaxysd.types import Pixels

Provenance = Mapping[str, str | int | float | bool | None]

_COMMENTS = {
    "prompt": "what was asked for",
    "seed": "of the random numbers",
    "survey": "survey token",
    "pixel_scale": "arcsec per pixel",
}
_SHORT = {"pixel_scale": "PIXSCALE", "model_hash": "MODHASH"}  # others: the name itself, HIERARCH if over 8 letters


def write_png(path: str | Path, pixels: Pixels, provenance: Provenance) -> None:
    """Write a PNG with one text chunk per provenance value (None is left out).

    Args:
        path: file to write.
        pixels: uint8 `[H, W, 3]`.
        provenance: text by name.
    """
    text = PngImagePlugin.PngInfo()
    for name, value in provenance.items():
        if value is not None:
            add = text.add_text if str(value).isascii() else text.add_itxt
            add(name, str(value))
    with replacing(path) as partial:
        Image.fromarray(pixels).save(partial, format="PNG", pnginfo=text)


def write_fits(path: str | Path, image: Pixels | npt.NDArray[np.floating], provenance: Provenance) -> None:
    r"""Write a float32 cube `[3, H, W]` (red, green, blue) of display intensities in [0, 1], provenance in the header.

    The first row of an image is the top one, the first row of a FITS file the bottom one; the cube is flipped
    accordingly, so that it looks the same in a FITS viewer. Text outside printable ASCII, which FITS forbids, is
    escaped as in Python (`\u00e9`); long text continues over several cards.

    Args:
        path: file to write.
        image: uint8 `[H, W, 3]`, or float `[3, H, W]` in [-1, 1] as networks make it.
        provenance: value by name; None is left out.
    """
    if image.dtype == np.uint8:
        cube = image.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    else:
        cube = (np.clip(image, -1, 1).astype(np.float32) + 1) / 2
    header = fits.Header()
    header["BUNIT"] = (DISPLAY_UNIT, "display intensity in [0, 1], no fluxes")
    for name, value in provenance.items():
        if value is not None:
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"provenance {name}: {value} cannot be stored in a FITS header")
            plain = value.encode("unicode_escape").decode("ascii") if isinstance(value, str) else value
            key = _SHORT.get(name, name.upper())
            header[key if len(key) <= 8 else f"HIERARCH {key}"] = (plain, _COMMENTS.get(name, ""))
    with replacing(path) as partial:
        fits.PrimaryHDU(np.ascontiguousarray(cube[:, ::-1]), header=header).writeto(partial)


def image_schema(columns: Sequence[pa.Field] = ()) -> pa.Schema:
    """Arrow schema `id`, `image` {bytes, path} and further columns, marked so that `datasets` shows the images."""
    features: dict[str, dict[str, str]] = {"id": {"dtype": "string", "_type": "Value"}, "image": {"_type": "Image"}}
    features |= {field.name: {"dtype": _feature(field.type), "_type": "Value"} for field in columns}
    return pa.schema(
        [
            pa.field("id", pa.string()),
            pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            *columns,
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


def _feature(dtype: pa.DataType) -> str:
    """Name of an Arrow type in the `datasets` library."""
    return {pa.float64(): "float64", pa.float32(): "float32"}.get(dtype, str(dtype))


def image_cell(name: str, pixels: Pixels) -> dict[str, bytes | str]:
    """Value of an `image` column: PNG bytes and a file name."""
    return {"bytes": encode_png(pixels), "path": f"{name}.png"}


class ParquetImages:
    """An open Parquet file of images; each `write` adds one row group."""

    def __init__(self, path: Path, columns: Sequence[pa.Field] = ()) -> None:
        self._schema = image_schema(columns)
        self._writer = pq.ParquetWriter(path, self._schema, compression="none")  # PNG is compressed already

    def write(
        self, ids: Sequence[str], images: Sequence[Pixels] | Pixels, provenance: Sequence[Provenance] | None = None
    ) -> None:
        """Add N rows: ids, images uint8 `[N, H, W, 3]` and the values of the further columns, if there are any.

        Raises:
            ValueError: the three are not of one length.
        """
        rows = [
            {"id": name, "image": image_cell(name, image), **values}
            for name, image, values in zip(ids, images, provenance or [{}] * len(ids), strict=True)
        ]
        self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


@contextmanager
def parquet_images(path: str | Path, columns: Sequence[pa.Field] = ()) -> Iterator[ParquetImages]:
    """Stream images into a Parquet file; memory holds one `write` at a time.

    Args:
        path: file to write; appears at the end of the block.
        columns: names and types of the provenance columns.

    Raises:
        InputError: the disk is full or the place cannot be written to.
    """
    with replacing(path) as partial:
        file = ParquetImages(partial, columns)
        try:
            yield file
        finally:
            file.close()
