"""Bytes of one image file in, uint8 RGB pixels out; whatever is not a whole, sane picture raises `BadImage`.

Only JPEG, PNG and FITS are opened, told apart by their first bytes (never by the name), and nothing is decompressed
before the size written in the header has been checked. Grey, palette, CMYK, RGBA and 16-bit pictures are refused rather
than converted: in a colour survey they are broken cut-outs, and a silent conversion would hide that.
"""

import io
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin, PngImagePlugin

from galaxysd.errors import InputError
from galaxysd.types import Pixels

if TYPE_CHECKING:  # astropy is slow to import and absent from a bare training machine
    from astropy.io import fits

MAX_SIDE = 8192  # pixels
MAX_PIXELS = 32_000_000

DISPLAY_UNIT = "display"  # BUNIT of FITS files whose values are display intensities in [0, 1], not fluxes

_FITS_DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_FITS_BLOCK = 2880  # bytes


class BadImage(InputError):
    """One image that cannot be used.

    Attributes:
        reason: what is wrong, without the name of the image (for `rejected.parquet`).
    """

    def __init__(self, reason: str, name: str | None = None) -> None:
        super().__init__(reason if name is None else f"{name}: {reason}")
        self.reason = reason


def decode(data: bytes, name: str, *, max_side: int = MAX_SIDE, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Pixels of a JPEG, PNG or FITS file.

    Args:
        data: the whole file.
        name: what to call it in an error message.
        max_side: largest width or height, in pixels.
        max_pixels: largest width times height.

    Returns:
        uint8 `[H, W, 3]`, red first, first row on top.

    Raises:
        BadImage: empty, truncated, damaged, too large, of another format or not RGB.
    """
    try:
        if not data:
            raise BadImage("the file is empty")
        if data.startswith(b"\xff\xd8\xff"):
            # A marker inside compressed data is always escaped, so the last scan must be followed by an end of image.
            if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
                raise BadImage("truncated JPEG: the end of the image is missing")
            return _decode_picture(data, "JPEG", max_side, max_pixels)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _decode_picture(data, "PNG", max_side, max_pixels)
        if data.startswith(b"SIMPLE  ="):
            return _decode_fits(data, max_side, max_pixels)
        raise BadImage("unknown format; only JPEG, PNG and FITS are read")
    except BadImage as error:
        raise BadImage(error.reason, name) from None


def encode_png(pixels: Pixels) -> bytes:
    """PNG file of uint8 `[H, W, 3]`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _check_size(width: int, height: int, max_side: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise BadImage(f"no pixels ({width} x {height})")
    if max(width, height) > max_side or width * height > max_pixels:
        raise BadImage(
            f"{width} x {height} pixels; at most {max_side:,} a side and {max_pixels / 1e6:g} million are opened"
        )


def _decode_picture(data: bytes, kind: str, max_side: int, max_pixels: int) -> Pixels:
    """JPEG or PNG by Pillow, which reads only the header until `load`.

    The plugin class is called directly because `Image.open` answers large sizes with a warning, and silencing a warning
    for one call is not thread-safe.
    """
    plugin = PngImagePlugin.PngImageFile if kind == "PNG" else JpegImagePlugin.JpegImageFile
    try:
        with plugin(io.BytesIO(data)) as picture:
            _check_size(*picture.size, max_side, max_pixels)
            if picture.mode != "RGB":
                raise BadImage(f"colour mode {picture.mode!r}; expected 8-bit RGB")
            if kind == "PNG":
                if data[24] != 8:  # bit depth in the IHDR chunk; Pillow would cut 16 bits down silently
                    raise BadImage(f"{data[24]} bits per channel; expected 8-bit RGB")
                if "transparency" in picture.info:
                    raise BadImage("has a transparent colour; expected opaque 8-bit RGB")
            picture.load()
            pixels = np.asarray(picture)
        if kind == "PNG":  # checksums of all chunks; only possible on a fresh file object
            PngImagePlugin.PngImageFile(io.BytesIO(data)).verify()
    except (OSError, SyntaxError, ValueError, IndexError, struct.error, zlib.error) as error:
        raise BadImage(f"damaged or truncated {kind} ({' '.join(str(error).split())})") from None
    return pixels


def _decode_fits(data: bytes, max_side: int, max_pixels: int) -> Pixels:
    """First image of a FITS file, flipped so that the first row is on top (FITS counts rows from the bottom)."""
    from astropy.io import fits

    try:
        header, start = _first_image_header(data)
        shape = tuple(int(header[f"NAXIS{axis}"]) for axis in range(int(header["NAXIS"]), 0, -1))
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 3):
            raise BadImage(f"FITS image of shape {list(shape)}; expected [H, W] or 3 bands as [3, H, W]")
        _check_size(shape[-1], shape[-2], max_side, max_pixels)
        dtype = np.dtype(_FITS_DTYPES[int(header["BITPIX"])])
        count = int(np.prod(shape))
        if start + count * dtype.itemsize > len(data):
            raise BadImage("truncated FITS: fewer bytes than the header announces")
        raw = np.frombuffer(data, dtype=dtype, count=count, offset=start).reshape(shape)
        values = raw.astype(np.float64) * float(header.get("BSCALE", 1)) + float(header.get("BZERO", 0))
        if "BLANK" in header and dtype.kind != "f":
            values[raw == int(header["BLANK"])] = np.nan
        display = header.get("BUNIT") == DISPLAY_UNIT
    except (OSError, KeyError, ValueError, TypeError, UserWarning, fits.VerifyError) as error:
        raise BadImage(f"damaged or truncated FITS ({' '.join(str(error).split())})") from None
    finite = np.isfinite(values)
    if not finite.all():
        raise BadImage(f"{finite.size - finite.sum()} of {finite.size} FITS values are not finite numbers")
    bands = values if values.ndim == 3 else np.broadcast_to(values, (3, *values.shape))
    unit = np.clip(bands, 0, 1) if display else asinh_stretch(bands)
    return np.ascontiguousarray(np.rint(unit * 255).astype(np.uint8).transpose(1, 2, 0)[::-1])


def _first_image_header(data: bytes) -> "tuple[fits.Header, int]":
    """Header of the first HDU that holds an image, and the offset of its values in bytes.

    Read by hand, because `fits.open` warns about short files where we want an error, and because a compressed image in
    a table could be a decompression bomb.
    """
    from astropy.io import fits

    stream = io.BytesIO(data)
    while True:
        try:
            header = fits.Header.fromfile(stream)
        except EOFError:
            raise BadImage("no image in this FITS file") from None
        start = stream.tell()
        if header.get("XTENSION", "IMAGE").strip() != "IMAGE":
            raise BadImage(f"FITS extension {header['XTENSION'].strip()!r}; expected a plain, uncompressed image")
        axes = int(header["NAXIS"])
        if axes:
            return header, start
        stream.seek(-(-start // _FITS_BLOCK) * _FITS_BLOCK)


def asinh_stretch(bands: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Robust asinh stretch of fluxes, with the colours kept (after Lupton et al. 2004, PASP 116, 133).

    Per band the sky (median) is removed. With I the mean of the bands, s its noise (1.4826 x median absolute deviation)
    and m its 99.8th percentile, intensity becomes f(I) = asinh(I / 3s) / asinh(m / 3s), so that 3 s of noise sit where
    the linear part ends; every band is multiplied by f(I) / I and clipped, and sky is drawn at 0.05.

    Args:
        bands: finite values `[3, H, W]` in any linear unit.

    Returns:
        `[3, H, W]` in [0, 1]; all zero for a constant image.
    """
    flux = bands - np.median(bands, axis=(1, 2), keepdims=True)
    intensity = flux.mean(axis=0)
    top = float(np.percentile(intensity, 99.8))
    if top <= 0:
        return np.zeros_like(bands)
    noise = 1.4826 * float(np.median(np.abs(intensity)))
    soft = 3 * noise if noise > 0 else top / 100  # a noiseless model: two decades of flux above the linear part
    safe = np.where(intensity == 0, 1, intensity)
    gain = np.where(intensity == 0, 1 / soft, np.arcsinh(intensity / soft) / safe) / np.arcsinh(top / soft)
    stretched: npt.NDArray[np.float64] = np.clip(0.05 + 0.95 * flux * gain, 0, 1)
    return stretched
