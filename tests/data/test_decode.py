"""Decoding: good files come back as they are, every bad one is refused with its reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxysd.data.decode import BadImage, asinh_stretch, decode, encode_png
from galaxysd.errors import InputError


def picture(height: int = 20, width: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def fits_bytes(data: np.ndarray | None, **header: object) -> bytes:
    buffer = io.BytesIO()
    fits.PrimaryHDU(data, header=fits.Header(header)).writeto(buffer)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int, stream: bytes) -> bytes:
    """A PNG whose header announces a size, whatever the data hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", stream) + png_chunk(b"IEND", b"")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_png_round_trip(height: int, width: int, seed: int) -> None:
    pixels = picture(height, width, seed)
    np.testing.assert_array_equal(decode(encode_png(pixels), "a.png"), pixels)


def test_jpeg_is_what_pillow_reads() -> None:
    smooth = np.asarray(Image.fromarray(picture(4, 4)).resize((64, 48), Image.Resampling.BICUBIC))
    decoded = decode(saved(Image.fromarray(smooth), "JPEG", quality=95), "a.jpg")
    assert decoded.shape == (48, 64, 3)
    assert np.abs(decoded.astype(int) - smooth).mean() < 3


def test_constant_image_is_allowed() -> None:
    assert decode(encode_png(np.full((8, 8, 3), 7, np.uint8)), "flat.png").max() == 7


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.995])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_file(kind: str, keep: float) -> None:
    data = saved(Image.fromarray(picture(64, 64)), kind)
    with pytest.raises(BadImage, match=r"^cut: .*(truncated|damaged)"):
        decode(data[: int(keep * len(data))], "cut")


def test_jpeg_without_its_last_two_bytes() -> None:
    with pytest.raises(BadImage, match="truncated JPEG"):
        decode(saved(Image.fromarray(picture()), "JPEG")[:-2], "cut.jpg")


def test_damaged_png() -> None:
    data = bytearray(encode_png(picture(64, 64)))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(BadImage, match="damaged or truncated PNG"):
        decode(bytes(data), "bits.png")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"GIF89a" + bytes(100), "unknown format; only JPEG, PNG and FITS"),
        (b"not an image at all", "unknown format"),
        (saved(Image.fromarray(picture()), "GIF"), "unknown format"),
        (saved(Image.fromarray(picture()).convert("L"), "PNG"), "colour mode 'L'; expected 8-bit RGB"),
        (saved(Image.fromarray(picture()).convert("L"), "JPEG"), "colour mode 'L'"),
        (saved(Image.fromarray(picture()).convert("CMYK"), "JPEG"), "colour mode 'CMYK'"),
        (saved(Image.fromarray(picture()).convert("RGBA"), "PNG"), "colour mode 'RGBA'"),
        (saved(Image.fromarray(picture()).convert("P"), "PNG"), "colour mode 'P'"),
        (saved(Image.fromarray(picture()), "PNG", transparency=(0, 0, 0)), "transparent colour"),
        (b"\xff\xd8\xff\xd9", "damaged or truncated JPEG"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage) as caught:
        decode(data, "name.jpg")
    assert reason in caught.value.reason
    assert str(caught.value) == f"name.jpg: {caught.value.reason}"
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, InputError)


def test_sixteen_bits() -> None:
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    rows = zlib.compress(bytes(4 * (1 + 4 * 6)))
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    with pytest.raises(BadImage, match="16 bits per channel"):
        decode(data, "deep.png")


@pytest.mark.parametrize(("width", "height"), [(20_000, 20), (20, 20_000), (8000, 8000), (2**31 - 1, 2**31 - 1)])
def test_too_large_is_seen_before_decompression(width: int, height: int) -> None:
    # the data of this file would fail to decompress, so the size must have been looked at first
    with pytest.raises(BadImage, match=f"{width} x {height} pixels; at most 8,192"):
        decode(png_claiming(width, height, b"no zlib stream"), "huge.png")


def test_zip_bomb() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)  # 50 kB that unpack to 50 MB behind a header of 16 x 16 px
    assert decode(png_claiming(16, 16, bomb), "bomb.png").shape == (
        16,
        16,
        3,
    )  # only what the header announces is unpacked
    text = png_chunk(b"zTXt", b"a\0\0" + bomb)
    good = encode_png(picture())
    with pytest.raises(BadImage, match="damaged or truncated PNG"):
        decode(good[:33] + text + good[33:], "text-bomb.png")


def test_large_jpeg_header() -> None:
    data = bytearray(saved(Image.fromarray(picture()), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    with pytest.raises(BadImage, match="65500 x 65500 pixels"):
        decode(bytes(data), "huge.jpg")


def test_limits_can_be_set() -> None:
    data = encode_png(picture(20, 30))
    assert decode(data, "a", max_side=30, max_pixels=600).shape == (20, 30, 3)
    with pytest.raises(BadImage, match="at most 29 a side"):
        decode(data, "a", max_side=29)
    with pytest.raises(BadImage, match="30 x 20 pixels"):
        decode(data, "a", max_pixels=599)


def star(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    light = 500 * np.exp(-0.5 * ((y - 5) ** 2 + (x - 8) ** 2) / 4)
    return (light + np.random.default_rng(seed).normal(100, 5, shape)).astype(np.float32)


def test_fits_two_dimensional() -> None:
    pixels = decode(fits_bytes(star((32, 32))), "a.fits")
    assert pixels.shape == (32, 32, 3)
    assert (pixels == pixels[..., :1]).all()
    row, column = np.unravel_index(pixels[..., 0].argmax(), (32, 32))
    assert (31 - row, column) == (5, 8)  # first FITS row at the bottom
    assert pixels[:20, 16:].mean() < 60 < 200 < pixels.max()


def test_fits_three_bands_keep_their_colour() -> None:
    bands = star((3, 32, 32))
    bands[0] = 100 + (bands[0] - 100) * 2
    pixels = decode(fits_bytes(bands), "a.fits")
    red, green, _ = pixels[31 - 5, 8]
    assert red > green


def test_fits_integers_with_scale_and_extension() -> None:
    counts = star((16, 16)).astype(np.int16)
    plain = decode(fits_bytes(counts), "a.fits")
    scaled = decode(fits_bytes(counts, BSCALE=1.0, BZERO=300.0), "b.fits")
    np.testing.assert_array_equal(plain, scaled)  # the sky level does not matter
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(counts)]).writeto(buffer)
    np.testing.assert_array_equal(decode(buffer.getvalue(), "c.fits"), plain)


def test_fits_refused() -> None:
    holes = star((16, 16))
    holes[3, 4] = np.nan
    with pytest.raises(BadImage, match="1 of 256 FITS values are not finite"):
        decode(fits_bytes(holes), "nan.fits")
    with pytest.raises(BadImage, match=r"shape \[4, 16, 16\]"):
        decode(fits_bytes(np.zeros((4, 16, 16), np.float32)), "cube.fits")
    with pytest.raises(BadImage, match="truncated FITS"):
        decode(fits_bytes(star((64, 64)))[:5000], "cut.fits")
    with pytest.raises(BadImage, match="FITS"):
        decode(fits_bytes(star((64, 64)))[:700], "cut.fits")
    with pytest.raises(BadImage, match="no image in this FITS"):
        decode(fits_bytes(None), "none.fits")
    blank = star((16, 16)).astype(np.int16)
    with pytest.raises(BadImage, match="not finite"):
        decode(fits_bytes(blank, BLANK=int(blank[2, 2])), "blank.fits")
    table = io.BytesIO()
    columns = [fits.Column(name="a", format="J", array=np.arange(3))]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(table)
    with pytest.raises(BadImage, match="BINTABLE"):
        decode(table.getvalue(), "table.fits")
    huge = fits_bytes(star((16, 16))).replace(b"NAXIS1  =                   16", b"NAXIS1  =                20000")
    with pytest.raises(BadImage, match="20000 x 16 pixels"):
        decode(huge, "huge.fits")


def test_constant_fits_is_black() -> None:
    assert decode(fits_bytes(np.full((8, 8), 5, np.float32)), "flat.fits").max() == 0


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_stretch_ignores_sky_level_and_unit(sky: float, unit: float) -> None:
    bands = star((3, 16, 16)).astype(np.float64)
    np.testing.assert_allclose(asinh_stretch(bands * unit + sky), asinh_stretch(bands), atol=1e-6)
