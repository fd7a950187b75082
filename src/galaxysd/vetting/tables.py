"""The table of a published catalogue: its columns, and the same rows as FITS, VOTable and Parquet.

In: a frame with the columns of `COLUMNS`. Out: files that say what each column is: unit (VOUnit), UCD (IVOA UCD1+ 1.5)
and description. FITS: binary table, UCDs as TUCDn and descriptions as TCOMMn, as TOPCAT reads them. VOTable 1.4 with
its coordinate system. Parquet: the same per field, and the header of the VOTable (IVOA note VOParquet 1.0).
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from galaxysd.io import replacing
from galaxysd.settings import FrozenModel

Kind = Literal["text", "whole", "real"]

FITS_FORMAT: dict[Kind, str] = {"whole": "K", "real": "D"}
VOTABLE_TYPE: dict[Kind, str] = {"text": "unicodeChar", "whole": "long", "real": "double"}
ARROW_TYPE: dict[Kind, pa.DataType] = {"text": pa.string(), "whole": pa.int64(), "real": pa.float64()}


class Column(FrozenModel):
    """What a column of the catalogue is."""

    name: str
    kind: Kind = Field(description="reals may be NaN (null in Parquet), texts empty, whole numbers are always there")
    ucd: str = Field(description="UCD1+")
    description: str
    unit: str | None = Field(default=None, description="VOUnit; null: none")


def _column(name: str, kind: Kind, ucd: str, description: str, unit: str | None = None) -> Column:
    return Column(name=name, kind=kind, ucd=ucd, description=description, unit=unit)


COLUMNS = (
    _column("id", "text", "meta.id;meta.main", "identifier of the galaxy in its survey"),
    _column("ra", "real", "pos.eq.ra;meta.main", "right ascension, ICRS; NaN if unknown", "deg"),
    _column("dec", "real", "pos.eq.dec;meta.main", "declination, ICRS; NaN if unknown", "deg"),
    _column("rank", "whole", "stat.rank", "place in the ranked list of the search, 1 is the best"),
    _column("score", "real", "stat.probability", "probability of the target, mean over the ensemble"),
    _column("uncertainty", "real", "stat.stdev;stat.probability", "standard deviation of score over the ensemble"),
    _column("votes_yes", "whole", "meta.number", "people who answered that it is the target"),
    _column("votes_no", "whole", "meta.number", "people who answered that it is not the target"),
    _column("votes_unsure", "whole", "meta.number", "people who could not say"),
    _column("yes_share", "real", "stat.probability;stat.mean", "posterior mean share of yes; NaN without yes or no"),
    _column("yes_low", "real", "stat.probability;stat.min", "lower end of the central 95 % of the share of yes"),
    _column("yes_high", "real", "stat.probability;stat.max", "upper end of the central 95 % of the share of yes"),
    _column("verdict", "text", "meta.code.class", "what the votes say: yes, no or unsure"),
    _column("known", "text", "meta.code", "new, known (in a list) or unplaced; empty if not compared"),
    _column("known_id", "text", "meta.id.cross", "name of the nearest known galaxy within the radius, else empty"),
    _column("known_list", "text", "meta.dataset", "list it is in, else empty"),
    _column("known_separation", "real", "pos.angDistance", "distance to the nearest known galaxy, else NaN", "arcsec"),
    _column("image", "text", "meta.ref.url", "picture: address, or file in this folder; empty if there is none"),
    _column("model_hash", "text", "meta.id;meta.software", "identity of what scored"),
)


def write_fits(path: str | Path, frame: pl.DataFrame, about: Mapping[str, str]) -> None:
    r"""Write a FITS binary table. Letters that FITS does not allow are escaped as in Python (`\xe9`).

    Args:
        path: file to write.
        frame: the columns `COLUMNS`, N rows.
        about: header cards: keyword and text.
    """
    from astropy.io import fits

    table = []
    for one in COLUMNS:
        values = _values(frame, one)
        if one.kind == "text":
            values = np.array([_ascii(text) for text in values], dtype=np.bytes_)
        width = max(1, values.dtype.itemsize)
        table.append(fits.Column(one.name, FITS_FORMAT.get(one.kind, f"{width}A"), unit=one.unit, array=values))
    hdu = fits.BinTableHDU.from_columns(table, name="CATALOGUE")
    for number, one in enumerate(COLUMNS, start=1):
        hdu.header[f"TUCD{number}"] = one.ucd
        hdu.header[f"TCOMM{number}"] = one.description
    for place in (primary := fits.PrimaryHDU()).header, hdu.header:
        place["RADESYS"] = "ICRS"
        for key, text in about.items():
            place[key] = _ascii(text)
    with replacing(path) as partial:
        fits.HDUList([primary, hdu]).writeto(partial, checksum=True)


def write_votable(path: str | Path, frame: pl.DataFrame, about: Mapping[str, str]) -> None:
    """Write a VOTable; arguments as `write_fits`, `about` becomes INFO elements."""
    with replacing(path) as partial:
        partial.write_bytes(_votable(frame, about))


def write_parquet(path: str | Path, frame: pl.DataFrame, about: Mapping[str, str]) -> None:
    """Write Parquet; arguments as `write_fits`, `about` becomes metadata of the file."""
    header = _votable(frame.clear(), about).decode()  # without rows there is no DATA
    metadata = {**about, "IVOA.VOTable-Parquet.version": "1.0", "IVOA.VOTable-Parquet.content": header}
    fields, columns = [], []
    for one in COLUMNS:
        notes = {"unit": one.unit or "", "ucd": one.ucd, "description": one.description}
        fields.append(pa.field(one.name, ARROW_TYPE[one.kind], metadata=notes))
        columns.append(pa.array(frame[one.name].to_list(), ARROW_TYPE[one.kind]))
        if frame[one.name].dtype == pl.String:  # what astropy wants to be told, or it warns
            metadata[f"table::len::{one.name}"] = str(frame[one.name].str.len_bytes().max() or 1)
    with replacing(path) as partial:
        pq.write_table(pa.table(columns, schema=pa.schema(fields, metadata=metadata)), partial)


def _votable(frame: pl.DataFrame, about: Mapping[str, str]) -> bytes:
    from astropy.io.votable import tree

    document = tree.VOTableFile(version="1.4")
    resource = tree.Resource(type="results")
    document.resources.append(resource)
    resource.coordinate_systems.append(tree.CooSys(ID="icrs", system="ICRS"))
    resource.infos.extend(tree.Info(name=key, value=text) for key, text in about.items())
    table = tree.TableElement(document, name="catalogue")
    resource.tables.append(table)
    for one in COLUMNS:
        more: dict[str, Any] = {"arraysize": "*"} if one.kind == "text" else {}
        more |= {} if one.unit is None else {"unit": one.unit}
        more |= {"ref": "icrs"} if one.name in ("ra", "dec") else {}
        field = tree.Field(document, name=one.name, ID=one.name, datatype=VOTABLE_TYPE[one.kind], ucd=one.ucd, **more)
        field.description = one.description
        table.fields.append(field)
    table.create_arrays(frame.height)
    for one in COLUMNS:
        table.array[one.name] = _values(frame, one)
    buffer = io.BytesIO()
    document.to_xml(buffer)
    return buffer.getvalue()


def _values(frame: pl.DataFrame, one: Column) -> np.ndarray:
    """A column [N] without nulls: NaN, or empty text."""
    series = frame[one.name]
    if one.kind == "text":
        return np.array(series.fill_null("").to_list(), dtype=object)
    if one.kind == "whole":
        return series.cast(pl.Int64).to_numpy()
    return series.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")
