"""reports/html.py: a page that needs nothing but itself."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from galaxysd.errors import InputError
from galaxysd.reports.html import Code, Figure, Section, Table, build_page

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


class Tags(HTMLParser):
    """All tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def page(folder: Path, *sections: Section) -> str:
    return build_page(folder / "sub" / "page.html", title="A <title>", lead="lead", sections=sections).read_text()


def test_pictures_lie_inside_the_page_unchanged(tmp_path: Path) -> None:
    text = page(tmp_path, Section("s", [Figure(IMAGE, alt="a galaxy", caption="c", scale=3)]))
    (image,) = Tags(text).all("img")
    source = image["src"] or ""
    with Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))) as picture:
        assert np.array_equal(np.asarray(picture), IMAGE)
    assert image["alt"] == "a galaxy" and image["width"] == "18"


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    parts = ["p", Figure(Image.fromarray(IMAGE), alt="x"), Code("ls"), Table(("a",), [("1",)])]
    text = page(tmp_path, Section("s", parts))
    tags = Tags(text)
    addresses = [value for _, attributes in tags.found for key in ("src", "href") if (value := attributes.get(key))]
    assert addresses and all(value.startswith(("data:", "#")) for value in addresses)
    assert not tags.all("script") and not tags.all("link") and "@import" not in text and "url(" not in text


def test_text_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>"
    figure, table = Figure(IMAGE, alt=f'"{evil}', caption=evil), Table((evil,), [(evil,)], caption=evil)
    tags = Tags(page(tmp_path, Section(evil, [evil, figure, table, Code(evil)])))
    assert not tags.all("script") and tags.all("img")[0]["alt"] == f'"{evil}'


def test_sections_are_linked(tmp_path: Path) -> None:
    tags = Tags(page(tmp_path, Section("one"), Section("two")))
    assert [tag["href"] for tag in tags.all("a")] == [f"#{tag['id']}" for tag in tags.all("section")]
    assert tags.all("html")[0]["lang"] == "en" and tags.all("meta")[1]["name"] == "viewport"


def test_a_row_of_the_wrong_length_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        Table(("a",), [("1", "2")])


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        build_page(tmp_path / "file" / "page.html", title="t", lead="l", sections=[])
