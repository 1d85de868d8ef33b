"""Decoding gives the same upright 8-bit pixels whatever the file's mode, or one clear error."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from meddiff.core.errors import MeddiffError
from meddiff.data.readers.decode import (
    decode_grey,
    decode_mask,
    decode_rgb,
    decode_stored,
    find_missing_window,
)
from meddiff.data.readers.depth import MissingWindowError


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_rgb_keeps_every_pixel(pixels: np.ndarray) -> None:
    decoded = decode_rgb(encode(Image.fromarray(pixels)), "x.png")
    assert decoded.dtype == np.uint8 and decoded.flags.writeable
    np.testing.assert_array_equal(decoded, pixels)


def test_grey_is_bt601_luma(pixels: np.ndarray) -> None:
    decoded = decode_grey(encode(Image.fromarray(pixels)), "x.png")
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert decoded.shape == (5, 7) and decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded, luma, atol=0.51)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
@pytest.mark.parametrize("ground", [0, 77, 255])
def test_what_is_transparent_is_seen_on_white(pixels: np.ndarray, mode: str, ground: int) -> None:
    """Files that look alike are read alike, whatever colour hides behind their alpha."""
    hidden = np.zeros((5, 7), bool)
    hidden[:2] = True
    shown = pixels.copy() if mode != "LA" else np.repeat(pixels[..., :1], 3, axis=2)
    if mode == "P":
        shown[~hidden] = 90
    options = {}
    stored = Image.fromarray(np.where(hidden[..., None], np.uint8(ground), shown))
    if mode in ("RGBA", "LA"):
        stored = stored.convert(mode)
        stored.putalpha(Image.fromarray(np.where(hidden, np.uint8(0), np.uint8(255))))
    elif mode == "P":
        stored = stored.convert("RGB").quantize(2)
        options["transparency"] = stored.getpixel((0, 0))
    else:
        options["transparency"] = (ground,) * 3
    expected = np.where(hidden[..., None], np.uint8(255), shown)
    data = encode(stored, **options)
    np.testing.assert_array_equal(decode_rgb(data, "x.png"), expected)
    luma = np.asarray(Image.fromarray(expected).convert("L"))
    np.testing.assert_array_equal(decode_grey(data, "x.png"), luma)
    np.testing.assert_array_equal(decode_stored(data, "x.png").pixels, expected)


def test_half_transparent_and_opaque_alpha(pixels: np.ndarray) -> None:
    alpha = np.full((5, 7, 1), 255, np.uint8)
    opaque = encode(Image.fromarray(np.concatenate([pixels, alpha], axis=2)))
    np.testing.assert_array_equal(decode_rgb(opaque, "x.png"), pixels)
    half = encode(Image.fromarray(np.concatenate([pixels, alpha // 2], axis=2)))
    expected = pixels * (127 / 255) + 255 * (128 / 255)
    np.testing.assert_allclose(decode_rgb(half, "x.png"), expected, atol=1)


def test_a_mask_s_transparent_ground_is_no_lesion() -> None:
    mask = np.full((4, 6, 4), 255, np.uint8)
    mask[:, 3:, 3] = 0
    result = decode_mask(encode(Image.fromarray(mask)), "m.png")
    np.testing.assert_array_equal(result, mask[..., 3])


def test_palette_and_one_bit_are_converted() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    np.testing.assert_array_equal(
        decode_rgb(encode(palette), "x.png"), [[[10, 20, 30], [200, 100, 50]]]
    )
    bits = Image.fromarray(np.array([[True, False, True]]))
    assert bits.mode == "1"
    np.testing.assert_array_equal(decode_grey(encode(bits), "x.png"), [[255, 0, 255]])


def test_cmyk_jpeg_is_converted() -> None:
    cmyk = encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    np.testing.assert_allclose(decode_rgb(cmyk, "x.jpg")[4, 4], [255, 0, 0], atol=3)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_deep_grey_is_seen_through_its_window(format: str) -> None:
    values = np.array([[0, 255, 256, 0x1234, 65535]], np.uint16)
    data = encode(Image.fromarray(values), format)
    for windows, expected in (
        ({"uint16": (0, 65535)}, [0, 0, 1, 0x12, 255]),
        ({"uint16": (0, 4095)}, [0, 15, 16, 255, 255]),
    ):
        np.testing.assert_array_equal(decode_grey(data, "x", windows), [expected])
        np.testing.assert_array_equal(decode_rgb(data, "x", windows)[..., 1], [expected])
        np.testing.assert_array_equal(
            decode_stored(data, "x", grey=True, windows=windows).pixels, [expected]
        )


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_deep_grey_without_a_window_is_never_read(dtype: type) -> None:
    data = encode(Image.fromarray(np.arange(64).reshape(8, 8).astype(dtype)), "TIFF")
    for decode in (decode_grey, decode_rgb, decode_stored):
        with pytest.raises(MissingWindowError, match=np.dtype(dtype).name):
            decode(data, "x.tif")
    result = find_missing_window(data, "x.tif")
    assert result and result.levels[[0, -1]].tolist() == [0, 63]
    assert find_missing_window(encode(Image.new("L", (8, 8))), "x.png") is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_levels_that_are_no_numbers_are_refused(value: float) -> None:
    data = encode(Image.fromarray(np.full((2, 2), value, np.float32)), "TIFF")
    with pytest.raises(MeddiffError, match=r"^x\.tif .*NaN"):
        decode_grey(data, "x.tif", {"float32": (0, 1)})


@pytest.mark.parametrize(
    ("format", "pages"), [("TIFF", 3), ("GIF", 3), ("PNG", 3), ("WEBP", 3), ("PNG", 1), ("TIFF", 1)]
)
def test_pages_are_counted_and_the_first_is_taken(format: str, pages: int) -> None:
    first, *others = (Image.new("RGB", (8, 8), (80 * n, 0, 0)) for n in range(pages))
    options = {"save_all": True, "append_images": others} if others else {}
    stored = decode_stored(encode(first, format, **options), "x")
    assert stored.pages == pages
    assert stored.pixels.max() <= 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_later_page_does_no_harm() -> None:
    first, second = Image.new("L", (8, 8)), Image.new("L", (8, 8))
    data = encode(first, "TIFF", save_all=True, append_images=[second])
    stored = decode_stored(data[:-150], "x", grey=True)
    assert stored.pixels.shape == (8, 8)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(np.uint8, 1), (np.uint8, 255), (np.uint16, 1), (np.uint16, 255), (np.uint16, 65535)],
)
def test_masks_of_any_depth_are_read_alike(dtype: type, value: int) -> None:
    shape = np.zeros((6, 8), bool)
    shape[1:3, 2:7] = True
    result = decode_mask(encode(Image.fromarray((shape * value).astype(dtype))), "m.png")
    np.testing.assert_array_equal(result, 255 * shape)
    assert result.dtype == np.uint8


def test_an_empty_mask_stays_empty() -> None:
    assert not decode_mask(encode(Image.fromarray(np.zeros((4, 4), np.uint8))), "m.png").any()


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (2, np.fliplr),
        (3, lambda image: np.rot90(image, 2)),
        (4, np.flipud),
        (6, lambda image: np.rot90(image, 1)),
        (8, lambda image: np.rot90(image, -1)),
    ],
)
def test_exif_orientation_is_applied(pixels: np.ndarray, orientation: int, undo) -> None:
    """The camera stored the upright image turned by `undo`; decoding must give it back."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo(pixels)))
    np.testing.assert_array_equal(decode_rgb(encode(stored, exif=exif), "x.png"), pixels)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9])
def test_truncated_files_are_refused(format: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), format)
    with pytest.raises(MeddiffError, match=r"^a\.jpg in b\.zip ") as caught:
        decode_rgb(data[: int(kept * len(data))], "a.jpg in b.zip")
    assert "replace" in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def photograph() -> Image.Image:
    """A picture with detail in all colours."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 26, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((261, 203), Image.Resampling.BICUBIC)


JPEGS = [
    {"subsampling": 0},
    {"subsampling": 1},
    {"subsampling": 2},
    {"progressive": True},
    {"keep_rgb": True},
    {"restart_marker_blocks": 7},
]


@pytest.mark.parametrize("options", JPEGS)
def test_stored_jpegs_have_the_strict_pixels(
    photograph: Image.Image, options: dict[str, object]
) -> None:
    """Two builds of libjpeg-turbo agree; one grey level would be as good."""
    data = encode(photograph, "JPEG", **options)
    stored = decode_stored(data, "x.jpg")
    expected = decode_rgb(data, "x.jpg").astype(int)
    assert np.abs(stored.pixels - expected).max() <= 1
    assert (stored.height, stored.width) == expected.shape[:2]
    assert (stored.shrink, stored.orientation) == (1, 1)
    grey = decode_stored(data, "x.jpg", grey=True).pixels
    np.testing.assert_array_equal(grey, decode_grey(data, "x.jpg"))


@pytest.mark.parametrize("factor", [1, 4, 8])
@pytest.mark.parametrize("grey", [False, True])
def test_what_the_quick_decoder_refuses_pillow_decodes(
    photograph: Image.Image, monkeypatch: pytest.MonkeyPatch, factor: int, grey: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("unusual")

    data = encode(photograph, "JPEG")
    quick = decode_stored(data, "x", grey=grey, shrink=lambda *_: factor)
    monkeypatch.setattr("meddiff.data.readers.decode.decode_jpeg", refuse)
    slow = decode_stored(data, "x", grey=grey, shrink=lambda *_: factor)
    assert slow.pixels.shape == quick.pixels.shape and slow.shrink == factor
    assert np.abs(slow.pixels.astype(int) - quick.pixels).max() <= 1


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "1"])
@pytest.mark.parametrize("grey", [False, True])
def test_other_modes_are_stored_as_they_are_decoded(
    photograph: Image.Image, mode: str, grey: bool
) -> None:
    format = "JPEG" if mode in ("L", "CMYK") else "PNG"
    data = encode(photograph.convert(mode), format)
    strict = decode_grey if grey else decode_rgb
    stored = decode_stored(data, "x", grey=grey, shrink=lambda *_: 1)
    np.testing.assert_array_equal(stored.pixels, strict(data, "x"))


@pytest.mark.parametrize("shape", [(203, 261), (200, 264), (17, 33)])
@pytest.mark.parametrize("factor", [4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpegs_are_decoded_smaller(
    photograph: Image.Image, shape: tuple[int, int], factor: int, mode: str
) -> None:
    data = encode(photograph.resize(shape[::-1]).convert(mode), "JPEG", quality=95)
    sizes = []
    stored = decode_stored(data, "x", shrink=lambda *size: sizes.append(size) or factor)
    assert sizes == [shape] == [(stored.height, stored.width)]
    assert stored.shrink == factor
    assert stored.pixels.shape == (-(-shape[0] // factor), -(-shape[1] // factor), 3)
    grey = decode_stored(data, "x", grey=True, shrink=lambda *_: factor)
    assert grey.pixels.shape == stored.pixels.shape[:2]


def test_only_jpegs_are_decoded_smaller(photograph: Image.Image) -> None:
    for data in (encode(photograph), encode(photograph.convert("CMYK"), "JPEG")):
        stored = decode_stored(data, "x", shrink=lambda *_: 8)
        assert stored.shrink == 1 and stored.pixels.shape == (203, 261, 3)


@pytest.mark.parametrize("format", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_stored_pixels_are_turned_once(photograph: Image.Image, format: str) -> None:
    """JPEGs wait for their turn; Pillow itself turns a TIFF while it reads it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(photograph, format, exif=exif)
    stored = decode_stored(data, "x")
    assert stored.orientation == (6 if format == "JPEG" else 1)
    turned = np.rot90(stored.pixels, -1) if format == "JPEG" else stored.pixels
    np.testing.assert_array_equal(turned, decode_rgb(data, "x"))


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("factor", [1, 8])
def test_truncated_jpegs_are_refused_by_every_decoder(
    photograph: Image.Image, options: dict[str, object], factor: int
) -> None:
    data = encode(photograph, "JPEG", **options)
    for kept in [*range(1, len(data), len(data) // 20), len(data) - 3]:
        with pytest.raises(MeddiffError, match=r"^x\.jpg ") as caught:
            decode_stored(data[:kept], "x.jpg", shrink=lambda *_: factor)
        assert "\n" not in str(caught.value)


def test_a_text_file_is_refused() -> None:
    with pytest.raises(MeddiffError, match=r"^x\.jpg "):
        decode_rgb(b"id,label\n1,benign\n", "x.jpg")


def test_an_empty_file_says_so() -> None:
    with pytest.raises(MeddiffError, match="empty"):
        decode_grey(b"", "x.jpg")


def test_postscript_never_starts_an_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    eps = encode(Image.new("RGB", (4, 4)), "EPS")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("interpreted"))
    with pytest.raises(MeddiffError, match=r"\w+\.\w+ "):
        decode_rgb(eps, "x.jpg")


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 60_000])
def test_giants_are_refused_and_told_the_limit(side: int) -> None:
    """Pillow alone only warns of the smaller one."""
    with pytest.raises(MeddiffError, match=r"giant\.png .*89\.5 million"):
        decode_grey(png_of_size(side, side), "giant.png")


def test_no_warning_of_pillow_s_reaches_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png_of_size(10_000, 10_000))
    code = (
        "import sys, pathlib; from meddiff.data.readers.decode import decode_grey\n"
        "try: decode_grey(pathlib.Path(sys.argv[1]).read_bytes(), 'x')\n"
        "except Exception as error: print(type(error).__name__)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "MeddiffError\n" and done.stderr == ""


def deep_png(values: np.ndarray, extra: tuple[bytes, bytes] | None = None) -> bytes:
    """Encode (h,w,1..4) uint16 with one more chunk, which neither Pillow nor OpenCV writes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    height, width, channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *([extra] if extra else []), (b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in [*parts, (b"IEND", b"")])


WINDOWS = {"uint16": (0.0, 4095.0), "uint16 RGB": (0.0, 4095.0)}


@pytest.fixture
def twelve() -> np.ndarray:
    """Levels of 12 bits in RGB."""
    return np.random.default_rng(0).integers(0, 4096, (5, 7, 3), dtype=np.uint16)


def deep_tiff(values: np.ndarray, orientation: int = 1, **options: object) -> bytes:
    file = io.BytesIO()
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(file, values, extratags=tags, **{"photometric": "rgb"} | options)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_deep_colour_is_turned_upright(twelve: np.ndarray, format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    chunk = (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    data = deep_png(twelve, chunk) if format == "PNG" else deep_tiff(twelve, orientation)
    plain = Image.fromarray((twelve >> 4).astype(np.uint8))
    plain.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(plain))
    np.testing.assert_array_equal(decode_rgb(data, "x", WINDOWS), expected)
    np.testing.assert_array_equal(decode_stored(data, "x", windows=WINDOWS).pixels, expected)
    mask = decode_mask(data, "x")
    assert mask.shape == expected.shape[:2] and set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_transparent_of_deep_images_is_seen_on_white(
    twelve: np.ndarray, channels: int
) -> None:
    hidden = np.zeros((5, 7), bool)
    hidden[:2] = True
    colours = twelve if channels > 2 else twelve[..., :1]
    colours[hidden] = 77
    if channels in (2, 4):
        alpha = np.where(hidden, 0, 65535)[..., None].astype(np.uint16)
        data = deep_png(np.concatenate([colours, alpha], axis=2))
    else:
        data = deep_png(colours, (b"tRNS", struct.pack(">H", 77) * channels))
    visible = np.broadcast_to(colours >> 4, (5, 7, 3))
    expected = np.where(hidden[..., None], 255, visible)
    np.testing.assert_array_equal(decode_rgb(data, "x.png", WINDOWS), expected)
    result = find_missing_window(data, "x.png")
    assert result and 77 not in result.levels
    assert not decode_mask(data, "x.png")[hidden].any()


def test_a_deep_colour_mask_of_small_levels_is_read() -> None:
    mask = np.zeros((4, 6, 3), np.uint16)
    mask[:, 3:] = 1
    np.testing.assert_array_equal(decode_mask(deep_png(mask), "m.png"), mask[..., 0] * 255)


@pytest.mark.parametrize(
    "options",
    [
        {"planarconfig": "separate"},
        {"planarconfig": "separate", "compression": "zlib"},
        {"photometric": "separated"},
        {"extrasamples": ["assocalpha"]},
    ],
)
def test_deep_colour_that_is_stored_in_a_rare_way_is_refused(
    twelve: np.ndarray, options: dict, capfd: pytest.CaptureFixture[str]
) -> None:
    if "planarconfig" in options:
        values = twelve.transpose(2, 0, 1)
    else:
        values = np.concatenate([twelve, twelve[..., :1]], axis=2)
    with pytest.raises(MeddiffError, match=r"^x\.tif .*16-bit"):
        decode_rgb(deep_tiff(values, **options), "x.tif", WINDOWS)
    assert not capfd.readouterr().err
