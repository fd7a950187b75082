"""How much sky a picture shows and on how many pixels: central crop, then one resize rule, for every image in GalaxySD.

In goes a decoded picture, out comes uint8 `[size, size, 3]`.
"""

import numpy as np
from PIL import Image
from pydantic import Field

from galaxysd.data.decode import BadImage
from galaxysd.settings import Settings
from galaxysd.types import Pixels


class Framing(Settings):
    """Central crop and output size."""

    crop: int | None = Field(
        default=None, ge=8, le=8192, description="side of the central crop, source px; null: the largest central square"
    )
    size: int = Field(default=64, ge=8, le=1024, description="side of the framed image, px")

    def side(self, height: int, width: int) -> int:
        """Side of the central square that is cut out of `height` x `width` pixels, in source px."""
        return min(height, width) if self.crop is None else self.crop

    def apply(self, pixels: Pixels) -> Pixels:
        """Crop the centre and resize it.

        The resize rule is Pillow's Lanczos filter with three lobes, widened when shrinking (so it does not alias), on
        8-bit values; an image that already has the right size is not touched.

        Args:
            pixels: uint8 `[H, W, 3]`.

        Returns:
            uint8 `[size, size, 3]`.

        Raises:
            BadImage: the picture has fewer pixels than the crop.
        """
        height, width = pixels.shape[:2]
        side = self.side(height, width)
        if min(height, width) < side:
            raise BadImage(f"{width} x {height} pixels; the framing needs at least {side} x {side}")
        top, left = (height - side) // 2, (width - side) // 2
        square = pixels[top : top + side, left : left + side]
        if side == self.size:
            return np.ascontiguousarray(square)
        return resize(square, self.size)


def resize(pixels: Pixels, size: int) -> Pixels:
    """The one resize rule (see `Framing.apply`): uint8 `[S, S, 3]` to `[size, size, 3]`."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS))
