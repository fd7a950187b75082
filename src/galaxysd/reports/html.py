"""A report as one HTML file: text, pictures and tables in sections, nothing loaded from elsewhere.

In: `Section`s. Out: a page that can be mailed or opened from a stick; its pictures are PNG inside the file.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image

import galaxysd
from galaxysd.errors import InputError
from galaxysd.io import write_atomically


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        image: uint8 [H, W, 3], or a PIL image.
        alt: what it shows, for a reader who cannot see it.
        caption: text below it.
        scale: CSS pixels per image pixel at full width; 64 px galaxies want 2.
    """

    image: npt.NDArray[np.uint8] | Image.Image
    alt: str
    caption: str = ""
    scale: int = 1

    @property
    def width(self) -> int:
        """Width in CSS pixels."""
        across = self.image.width if isinstance(self.image, Image.Image) else self.image.shape[1]
        return across * self.scale

    @property
    def data_uri(self) -> str:
        """The picture as a PNG address that holds itself."""
        picture = self.image if isinstance(self.image, Image.Image) else Image.fromarray(self.image)
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        columns: headings.
        rows: cells; numbers should come formatted.
        caption: text above it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells for {len(self.columns)} columns: {row}")


@dataclass(frozen=True)
class Code:
    """Commands to copy."""

    text: str


Part = str | Figure | Table | Code  # a plain string is a paragraph


@dataclass(frozen=True)
class Section:
    """A chapter of the page: a title, then its parts in order."""

    title: str
    parts: Sequence[Part] = field(default_factory=tuple)


def build_page(path: str | Path, *, title: str, lead: str, sections: Sequence[Section], footer: str = "") -> Path:
    """Write the page; it appears under its name only when complete.

    Args:
        path: the HTML file.
        title: heading.
        lead: one paragraph below it.
        sections: chapters.
        footer: last line, e.g. model and versions.

    Returns:
        The path.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    environment = Environment(
        loader=PackageLoader("galaxysd.reports"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["figure"] = lambda part: isinstance(part, Figure)
    environment.tests["table"] = lambda part: isinstance(part, Table)
    environment.tests["code"] = lambda part: isinstance(part, Code)
    text = environment.get_template("page.html").render(
        title=title, lead=lead, sections=sections, footer=footer, version=galaxysd.__version__
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
    return path
