"""Turns and flips of galaxies, and random views of them: what contrastive learning is to ignore.

In: uint8 images [B, 3, S, S] and a generator. Out: float32 views [B, 3, S, S] in [0, 1]. A view is another look at the
same galaxy: turned, flipped, a little nearer or off centre, brighter or redder, through worse seeing, with more noise,
with a small piece missing. Colour is changed gently, because the colour of a galaxy means something. The order is that
of a telescope: place on the sky, seeing, calibration, missing pixels, and noise last.

All draws come from the generator; every other function here is a plain function of tensors.
"""

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from galaxysd.settings import Settings

BLUR_REACH = 4  # px to either side; enough for a deviation of 1.5 px


class ViewSettings(Settings):
    """How much two views of a galaxy may differ."""

    resampled: float = Field(
        default=0.75,
        ge=0,
        le=1,
        description="share of views turned by any angle, zoomed and shifted, which smooths their pixels; the others "
        "are only turned by quarters and flipped, so that the encoder also learns pixels as it will meet them",
    )
    zoom: float = Field(default=0.15, ge=0, le=1, description="largest |log magnification|")
    shift: float = Field(default=0.05, ge=0, le=0.5, description="largest shift along each axis, image sides")
    brightness: float = Field(default=0.2, ge=0, description="deviation of the log of a factor for all colours")
    colour: float = Field(default=0.05, ge=0, description="deviation of the log of a factor for each colour")
    blurred: float = Field(default=0.3, ge=0, le=1, description="share of blurred views")
    blur: float = Field(default=1.0, gt=0, le=1.5, description="largest deviation of the Gaussian blur, px")
    noisy: float = Field(default=0.5, ge=0, le=1, description="share of views with more noise")
    noise: float = Field(default=0.03, ge=0, description="largest deviation of the noise, full range = 1")
    cut: float = Field(default=0.3, ge=0, le=1, description="share of views with a missing square")
    cutout: float = Field(default=0.25, gt=0, le=1, description="largest side of the missing square, image sides")


def dihedral(images: Tensor, orientation: Tensor) -> Tensor:
    """Turn and flip each image [B, C, S, S] by its orientation 0..7: galaxies have no preferred side of the sky."""
    turned = images.clone()
    for index in range(1, 8):
        chosen = orientation == index
        if chosen.any():
            view = images[chosen]
            view = view.transpose(-1, -2) if index & 4 else view
            turned[chosen] = torch.rot90(view, index & 3, dims=(-2, -1))
    return turned


def random_views(images: Tensor, settings: ViewSettings, generator: torch.Generator) -> Tensor:
    """One random view of each image.

    Args:
        images: uint8 [B, 3, S, S].
        settings: how far views may differ.
        generator: source of all draws, on the CPU; the images may lie elsewhere.

    Returns:
        float32 [B, 3, S, S] in [0, 1].
    """
    count, device = len(images), images.device

    def uniform(low: float, high: float, columns: int = 1) -> Tensor:
        return (low + (high - low) * torch.rand(count, columns, generator=generator)).to(device)

    def normal(columns: int) -> Tensor:
        return torch.randn(count, columns, generator=generator).to(device)

    def chosen(share: float) -> Tensor:
        return uniform(0, 1)[:, 0] < share

    orientation = torch.randint(8, (count,), generator=generator).to(device)
    views = dihedral(images, orientation).float() / 255
    angle, magnification = uniform(0, 2 * math.pi)[:, 0], uniform(-settings.zoom, settings.zoom)[:, 0].exp()
    shift, picked = uniform(-settings.shift, settings.shift, 2), chosen(settings.resampled)
    views[picked] = resample(views[picked], angle[picked], magnification[picked], shift[picked])

    deviation, picked = uniform(0.2, settings.blur)[:, 0], chosen(settings.blurred)
    views[picked] = blur(views[picked], deviation[picked])

    factor = torch.exp(settings.brightness * normal(1) + settings.colour * normal(3))  # [B, 3]
    views = (views * factor[:, :, None, None]).clamp(0, 1)

    side, centre, picked = uniform(0.1, settings.cutout)[:, 0], uniform(0, 1, 2), chosen(settings.cut)
    views[picked] = cut_out(views[picked], centre[picked], side[picked])

    strength = uniform(0, settings.noise)[:, 0] * chosen(settings.noisy)
    grain = torch.randn(views.shape, generator=generator).to(device)
    return (views + strength[:, None, None, None] * grain).clamp(0, 1)


def resample(images: Tensor, angle: Tensor, magnification: Tensor, shift: Tensor) -> Tensor:
    """Turn, magnify and shift images about their centre, with bilinear interpolation.

    What comes in from outside is the mirrored border: sky remains sky, and no black corner gives the angle away.

    Args:
        images: float [B, C, S, S].
        angle: [B], radians; a galaxy turns anticlockwise as displayed (first row on top).
        magnification: [B], > 1 makes galaxies larger.
        shift: [B, 2], right and down, image sides.
    """
    if len(images) == 0:  # torch makes no grid of nothing
        return images
    cosine, sine = angle.cos() / magnification, angle.sin() / magnification
    # affine_grid wants the way back: from places of the view to places of the image, both in [-1, 1].
    turn = torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)
    back = torch.cat([turn, -(turn @ (2 * shift)[:, :, None])], dim=2)
    grid = functional.affine_grid(back, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def blur(images: Tensor, deviation: Tensor) -> Tensor:
    """Gaussian blur of float images [B, C, S, S], each by its own deviation [B] in px; borders are mirrored."""
    count, channels, side, _ = images.shape
    if count == 0:
        return images
    steps = torch.arange(-BLUR_REACH, BLUR_REACH + 1, device=images.device)
    kernel = torch.exp(-0.5 * (steps / deviation[:, None]).square())
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)  # [B C, taps]
    padded = functional.pad(images, (BLUR_REACH,) * 4, mode="reflect").reshape(1, count * channels, -1, side + 8)
    rows = functional.conv2d(padded, kernel[:, None, None, :], groups=count * channels)
    return functional.conv2d(rows, kernel[:, None, :, None], groups=count * channels).view(images.shape)


def cut_out(images: Tensor, centre: Tensor, side: Tensor) -> Tensor:
    """Replace a square of each image by its sky, the median of each colour: most pixels of a stamp are sky.

    Args:
        images: float [B, C, S, S].
        centre: [B, 2], row and column in image sides; the square may reach over the border.
        side: [B], image sides.
    """
    size = images.shape[-1]
    places = (torch.arange(size, device=images.device) + 0.5) / size
    inside = (places - centre[:, :, None]).abs() <= side[:, None, None] / 2  # [B, 2, S]
    square = inside[:, 0, :, None] & inside[:, 1, None, :]
    sky = images.flatten(2).median(dim=2).values
    return torch.where(square[:, None], sky[:, :, None, None], images)
