"""Contact sheets: labelled rows of galaxies on a dark ground, for reports and for the snapshots of a training run.

In go labels and uint8 images, out comes a Pillow picture. Nothing is resampled except by whole factors, so that what
one sees is what was made.
"""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from galaxysd.types import Pixels

GROUND, INK, FAINT = (16, 17, 22), (226, 228, 235), (140, 144, 156)
LABEL_WIDTH = 200  # px
GAP = 3  # px between images
MARGIN = 14  # px


def contact_sheet(
    rows: "Sequence[tuple[str, Pixels]]",
    *,
    columns: int | None = None,
    scale: int = 2,
    title: str | None = None,
    footer: str | None = None,
) -> Image.Image:
    """Draw rows of images with their labels at the left.

    Args:
        rows: label and uint8 `[n, S, S, 3]`; n may differ from row to row, S may not.
        columns: images in a line; a row with more of them is wrapped. None: as many as the longest row has.
        scale: whole factor of enlargement.
        title: line on top.
        footer: line at the bottom, e.g. model hash and seed.

    Returns:
        RGB picture.

    Raises:
        ValueError: there is nothing to draw, or the images are of different sizes.
    """
    sides = {images.shape[1:] for _, images in rows if len(images)}
    if len(sides) != 1:
        raise ValueError(f"contact_sheet: expected images of one size, found {sorted(sides) or 'none'}")
    side = next(iter(sides))[0] * scale
    columns = columns or max(len(images) for _, images in rows)
    lines = [max(1, -(-len(images) // columns)) for _, images in rows]
    head = MARGIN + (30 if title else 0)
    width = MARGIN + LABEL_WIDTH + columns * (side + GAP) + MARGIN
    height = head + sum(lines) * (side + GAP) + (len(rows) - 1) * GAP + MARGIN + (22 if footer else 0)
    sheet = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    if title:
        draw.text((MARGIN, MARGIN), title, fill=INK, font=ImageFont.load_default(18))
    top = head
    for (label, images), count in zip(rows, lines, strict=True):
        block = count * (side + GAP)
        text = _wrapped(label, font)
        draw.multiline_text((MARGIN, top + block / 2), text, fill=INK, font=font, anchor="lm", spacing=3)
        for index, image in enumerate(images):
            line, column = divmod(index, columns)
            enlarged = np.repeat(np.repeat(image, scale, axis=0), scale, axis=1)
            place = (MARGIN + LABEL_WIDTH + column * (side + GAP), top + line * (side + GAP))
            sheet.paste(Image.fromarray(enlarged), place)
        top += block + GAP
    if footer:
        draw.text((MARGIN, height - MARGIN), footer, fill=FAINT, font=ImageFont.load_default(12), anchor="ls")
    return sheet


def _wrapped(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The label broken into lines that fit its column."""
    for characters in range(len(label), 1, -1):
        lines = textwrap.wrap(label, characters)
        if max(map(font.getlength, lines), default=0) <= LABEL_WIDTH - MARGIN:
            return "\n".join(lines)
    return label
