"""Both ways of decoding beside torchvision's own path, on real photographs and drawn ones."""

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Compose, Resize, v2

from meddiff.core.errors import MeddiffError
from meddiff.data.preprocessing import files as files_module
from meddiff.data.preprocessing import jpeg_scaling as reduced
from meddiff.data.preprocessing.files import Oddities, Preprocessing, preprocess_files
from meddiff.data.preprocessing.resizing import centre_crop, preprocess, preprocess_mask
from meddiff.data.readers.depth import NO_WINDOWS, Windows
from pictures import jpeg, photograph, png, smooth


def preprocess_file(
    data: bytes, name: str, *, windows: Windows = NO_WINDOWS, **options: Any
) -> np.ndarray:
    """Prepare one file; (size, size) for grey."""
    (result,) = preprocess_files([(data, name)], Preprocessing(**options), windows=windows)
    return result[..., 0] if result.shape[2] == 1 else result


def peer(data: bytes, crop: int | None, size: int, mode: str = "RGB") -> np.ndarray:
    """Prepare a file as ImageFolder and torchvision's transforms of Pillow images do."""
    return transformed(opened(data, mode), crop, size)


def opened(data: bytes, mode: str = "RGB") -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return ImageOps.exif_transpose(image).convert(mode)


def transformed(image: Image.Image, crop: int | None, size: int) -> np.ndarray:
    steps = [CenterCrop(crop or min(image.size)), Resize([size, size])]
    return np.array(Compose(steps)(image))


def off(result: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return absolute differences in grey levels."""
    assert result.shape == expected.shape and result.dtype == np.uint8
    return np.abs(result.astype(int) - expected)


def assert_exact(result: np.ndarray, expected: np.ndarray) -> None:
    """Within 1 grey level but for a few values, where the kernels' roundings add up to 2."""
    difference = off(result, expected)
    assert difference.max() <= 2
    assert np.count_nonzero(difference > 1) <= 1 + difference.size // 5000


def assert_fast(difference: np.ndarray) -> None:
    assert difference.mean() <= 0.5 and np.percentile(difference, 99.9) <= 8


@pytest.mark.parametrize(
    "shape", [(45, 45), (64, 64), (200, 300), (301, 200), (224, 223), (50, 99)]
)
@pytest.mark.parametrize("crop", [None, 45, 44])
@pytest.mark.parametrize("size", [32, 64])
def test_preprocessing_equals_torchvision(
    shape: tuple[int, int], crop: int | None, size: int
) -> None:
    """Against both of torchvision's kernels, for tensors and for Pillow images."""
    image = smooth(*shape)
    steps = [v2.CenterCrop(crop or min(shape)), v2.Resize([size, size], antialias=True)]
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
    result = preprocess(image, crop=crop, size=size)
    assert result.shape == (size, size, 3)
    assert_exact(result, v2.Compose(steps)(tensor).numpy().transpose(1, 2, 0))
    assert_exact(result, peer(png(image), crop, size))


class TestExact:
    @pytest.mark.parametrize("shape", [(333, 500), (501, 334), (130, 151), (90, 100), (31, 40)])
    @pytest.mark.parametrize("size", [32, 57, 64, 224])
    def test_jpegs_of_any_size(self, shape: tuple[int, int], size: int) -> None:
        data = jpeg(photograph(*shape))
        for crop in (None, 31):
            assert_exact(preprocess_file(data, "x", crop=crop, size=size), peer(data, crop, size))

    @pytest.mark.parametrize(
        "options",
        [
            {"subsampling": 0},
            {"subsampling": 1},
            {"subsampling": 2},
            {"progressive": True},
            {"keep_rgb": True},
            {"quality": 30, "optimize": True},
        ],
    )
    def test_jpegs_of_any_encoding(self, options: dict[str, object]) -> None:
        data = jpeg(photograph(203, 301), **options)
        assert_exact(preprocess_file(data, "x", crop=None, size=64), peer(data, None, 64))

    @pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "1"])
    @pytest.mark.parametrize("grey", [False, True])
    def test_other_modes(self, mode: str, grey: bool) -> None:
        file = io.BytesIO()
        picture = Image.fromarray(photograph(203, 301)).convert(mode)
        picture.save(file, "JPEG" if mode in ("L", "CMYK") else "PNG")
        data = file.getvalue()
        result = preprocess_file(data, "x", crop=None, size=64, grey=grey)
        assert_exact(result, peer(data, None, 64, "L" if grey else "RGB"))

    def test_sixteen_bits(self) -> None:
        high = photograph(140, 150)[..., 0]
        data = png(high.astype(np.uint16) << 8 | 77)
        options = {"crop": None, "size": 64, "windows": {"uint16": (0, 65535)}}
        assert_exact(preprocess_file(data, "x", **options), peer(png(high), None, 64))

    def test_colour_turned_grey(self) -> None:
        data = jpeg(photograph(203, 301))
        result = preprocess_file(data, "x", crop=None, size=64, grey=True)
        assert_exact(result, peer(data, None, 64, "L"))

    @pytest.mark.parametrize("size", [180, 179, 57])
    def test_noise_keeps_the_bound(self, size: int) -> None:
        """Where the two kernels' roundings add up: the values off by 2 come from resizing alone."""
        for image in (photograph(225, 225, seed=225), 255 * (smooth(225, 225) % 2)):
            data = jpeg(image)
            np.testing.assert_array_equal(
                preprocess_file(data, "x", crop=None, size=225), opened(data)
            )
            assert_exact(preprocess_file(data, "x", crop=None, size=size), peer(data, None, size))

    @settings(deadline=None, max_examples=60)
    @given(st.data())
    def test_any_shape_and_crop(self, data: st.DataObject) -> None:
        height, width = (data.draw(st.integers(20, 400)) for _ in "hw")
        crop = data.draw(st.none() | st.integers(8, min(height, width)))
        size = data.draw(st.integers(8, 240))
        file = jpeg(photograph(height, width, seed=height))
        assert_exact(preprocess_file(file, "x", crop=crop, size=size), peer(file, crop, size))

    def test_a_crop_one_pixel_away_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = jpeg(photograph(203, 301))
        window = centre_crop

        def displaced(height: int, width: int, crop: int | None) -> tuple[int, int, int]:
            top, left, side = window(height, width, crop)
            return top, left + 1, side

        monkeypatch.setattr(files_module, "centre_crop", displaced)
        result = preprocess_file(data, "x", crop=None, size=64)
        assert off(result, peer(data, None, 64)).max() > 1


class TestFast:
    @pytest.mark.parametrize("shape", [(900, 1201), (1203, 640), (777, 777)])
    @pytest.mark.parametrize("crop", [None, 601])
    @pytest.mark.parametrize("subsampling", [0, 1, 2])
    def test_large_jpegs_stay_close(
        self, shape: tuple[int, int], crop: int | None, subsampling: int
    ) -> None:
        data = jpeg(photograph(*shape), subsampling=subsampling)
        for size in (32, 57, 64):
            result = preprocess_file(data, "x", crop=crop, size=size, decoding="fast")
            assert_fast(off(result, peer(data, crop, size)))
            grey = preprocess_file(data, "x", crop=crop, size=size, decoding="fast", grey=True)
            assert_fast(off(grey, peer(data, crop, size, "L")))

    @pytest.mark.parametrize(
        ("side", "crop", "size", "expected"),
        [
            (871, None, 64, 8),
            (870, None, 64, 4),
            (436, None, 64, 4),
            (435, None, 64, 1),
            (871, 500, 64, 4),
            (871, 200, 64, 1),
            (871, None, 224, 1),
        ],
    )
    def test_pixels_to_spare_decide_the_scale(
        self, side: int, crop: int | None, size: int, expected: int
    ) -> None:
        assert reduced.shrink_for(crop or side, size) == expected

    def test_small_jpegs_and_other_files_are_exact(self) -> None:
        for data in (jpeg(photograph(224, 224)), png(photograph(900, 900))):
            exact = preprocess_file(data, "x", crop=None, size=64)
            result = preprocess_file(data, "x", crop=None, size=64, decoding="fast")
            np.testing.assert_array_equal(result, exact)

    @pytest.mark.parametrize("grey", [0, 100, 255])
    def test_flat_areas_keep_their_grey(self, grey: int) -> None:
        data = jpeg(np.full((900, 1001, 3), grey, np.uint8), quality=100)
        assert np.all(preprocess_file(data, "x", crop=None, size=64, decoding="fast") == grey)

    def test_a_block_keeps_its_low_cosines(self) -> None:
        """What a smaller decoding keeps of a block, `_enlargement` gives back."""
        places = (np.arange(8) + 0.5) / 8
        for kept in (1, 2):
            pixels = np.cos(np.pi * np.outer(places, np.arange(kept)))
            few = np.cos(np.pi * np.outer((np.arange(kept) + 0.5) / kept, np.arange(kept)))
            np.testing.assert_allclose(reduced._enlargement(kept) @ few, pixels, atol=1e-12)

    def test_weights_add_up_exactly(self) -> None:
        """Whole multiples of 2^-12 that add up to 1 and cannot leave float32's whole numbers."""
        for shrink in (4, 8):
            weights = reduced._weights(1001, 37, 903, 64, shrink)
            rows = np.concatenate([part.sum(1) for _, part in weights.bands])
            assert len(rows) == 64 and np.all(rows == 1)
            for _, part in weights.bands:
                assert np.all(part * 2**12 == np.rint(part * 2**12))
                gain = np.abs(part).sum(1).max()
                assert 255 * gain * gain * 4 * 2**12 < 2**24

    def test_neglected_blocks_are_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Were the smaller image taken as it comes, at the full window's place."""
        data = jpeg(photograph(900, 1201))
        monkeypatch.setattr(reduced, "_enlargement", lambda kept: np.eye(8)[:, :kept])
        reduced._weights.cache_clear()
        result = preprocess_file(data, "x", crop=None, size=64, decoding="fast")
        reduced._weights.cache_clear()
        with pytest.raises(AssertionError):
            assert_fast(off(result, peer(data, None, 64)))

    def test_another_way_of_decoding_is_refused(self) -> None:
        with pytest.raises(MeddiffError, match=r"decoding .*'quick'.*exact"):
            preprocess_file(png(smooth(9, 9)), "x", crop=None, size=8, decoding="quick")


def oriented(pixels: np.ndarray, orientation: int, suffix: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, suffix, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(602, 907), (908, 601)])
class TestOrientation:
    """Margins are odd, so that a crop rounded on the wrong side would be a pixel away."""

    def test_exact(self, shape: tuple[int, int], orientation: int) -> None:
        for suffix in ("JPEG", "PNG", "TIFF"):
            data = oriented(photograph(*shape), orientation, suffix)
            for crop in (None, 301):
                result = preprocess_file(data, "x", crop=crop, size=64)
                assert_exact(result, peer(data, crop, 64))

    def test_grey(self, shape: tuple[int, int], orientation: int) -> None:
        data = oriented(photograph(*shape), orientation, "JPEG")
        for decoding, test in (
            ("exact", assert_exact),
            ("fast", lambda a, b: assert_fast(off(a, b))),
        ):
            result = preprocess_file(data, "x", crop=None, size=64, grey=True, decoding=decoding)
            test(result, peer(data, None, 64, "L"))

    def test_fast(self, shape: tuple[int, int], orientation: int) -> None:
        data = oriented(photograph(*shape), orientation, "JPEG")
        for crop in (None, 501):
            result = preprocess_file(data, "x", crop=crop, size=32, decoding="fast")
            assert_fast(off(result, peer(data, crop, 32)))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("decoding", ["exact", "fast"])
def test_no_file_depends_on_its_neighbours(
    decoding: Literal["exact", "fast"], grey: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neighbours of one side are resized at once, up to a number of bytes."""
    monkeypatch.setattr(files_module, "BATCH_BYTES", 5 * 150 * 150 * 3)
    sizes = [(150, 170)] * 14 + [(300, 200), (600, 700)] + [(150, 170)] * 3 + [(100, 90)] * 3
    files = [
        (oriented(photograph(*size, seed=n), 1 + n % 8, "JPEG"), str(n))
        for n, size in enumerate(sizes)
    ]
    how = Preprocessing(crop=None, size=64, decoding=decoding, grey=grey)
    together = preprocess_files(files, how)
    assert together.shape == (len(files), 64, 64, 1 if grey else 3)
    for result, (data, name) in zip(together, files, strict=True):
        np.testing.assert_array_equal(result, preprocess_files([(data, name)], how)[0])


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientations_that_exif_does_not_know_turn_nothing(orientation: int) -> None:
    data = oriented(photograph(140, 180), orientation, "JPEG")
    assert_exact(preprocess_file(data, "x", crop=None, size=64), peer(data, None, 64))


@pytest.mark.parametrize("decoding", ["exact", "fast"])
def test_damaged_files_are_refused(decoding: Literal["exact", "fast"]) -> None:
    """Also where nobody compared their digest: never grey pixels in place of missing ones."""
    data = jpeg(photograph(600, 700))
    for kept in (0.0, 0.01, 0.3, 0.7, 0.99):
        with pytest.raises(MeddiffError, match=r"^a in b ") as caught:
            preprocess_file(
                data[: int(kept * len(data))], "a in b", crop=None, size=32, decoding=decoding
            )
        assert "\n" not in str(caught.value)
    with pytest.raises(MeddiffError, match=r"^a in b: .*700x600 px"):
        preprocess_file(data, "a in b", crop=601, size=32, decoding=decoding)


@pytest.mark.slow
def test_real_photographs(real_images: Path) -> None:
    """Most with hair, some with rulers, at their full resolution."""
    goals = [(None, 32), (None, 64), (None, 224), (501, 57)]
    close: dict[tuple[int | None, int], list[np.ndarray]] = {goal: [] for goal in goals}
    for path in sorted((real_images / "images").iterdir()):
        data = path.read_bytes()
        whole = opened(data)
        for crop, size in goals:
            expected = transformed(whole, crop, size)
            assert_exact(preprocess_file(data, "x", crop=crop, size=size), expected)
            fast = preprocess_file(data, "x", crop=crop, size=size, decoding="fast")
            close[crop, size].append(off(fast, expected).ravel())
    for differences in close.values():
        together = np.concatenate(differences)
        assert_fast(together)
        assert together.max() > 1, "nothing was decoded at a reduced scale"


def test_grey_stays_two_dimensional() -> None:
    image = smooth(60, 80)
    grey = preprocess(image[..., 0], crop=None, size=32)
    np.testing.assert_array_equal(grey, preprocess(image, crop=None, size=32)[..., 0])


@settings(deadline=None)
@given(st.integers(40, 120), st.integers(40, 120), st.integers(0, 999), st.booleans())
def test_masks_stay_aligned_with_their_images(
    height: int, width: int, seed: int, cropped: bool
) -> None:
    """An image that shows its own mask agrees with it, however asymmetric, after both paths."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    top, left = rng.integers(0, (height // 2, width // 2))
    mask[top : top + height // 3, left : left + width // 4] = 255
    options = {"crop": 40 if cropped else None, "size": 32}
    shown = preprocess(np.repeat(mask[..., None], 3, axis=2), **options)[..., 0]
    result = preprocess_mask(mask, **options)
    assert set(np.unique(result)) <= {0, 255}
    assert np.all(result[shown >= 240] == 255) and np.all(result[shown <= 15] == 0)


def test_a_mask_covers_where_half_of_the_area_is_lesion() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[0, 0] = mask[2:, 2] = mask[2, 1] = 255
    expected = [[0, 0], [0, 255]]
    np.testing.assert_array_equal(preprocess_mask(mask, crop=None, size=2), expected)
    np.testing.assert_array_equal(preprocess_mask(mask // 255, crop=None, size=2), expected)
    assert not preprocess_mask(np.zeros_like(mask), crop=None, size=2).any()


def test_what_is_enlarged_or_has_pages_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    first, second = (Image.fromarray(smooth(40, 60, seed)) for seed in (0, 1))
    animated = io.BytesIO()
    first.save(animated, "GIF", save_all=True, append_images=[second])
    files = [(png(smooth(50, 40 - n)), f"{n}.png") for n in range(9)]
    files.append((animated.getvalue(), "x.gif"))
    oddities = Oddities()
    preprocess_files(files, Preprocessing(None, 40), oddities=oddities)
    oddities.log(10, 40)
    small, paged = caplog.messages
    assert "8 of 10" in small and "40 px" in small and "1.png" in small and "8.png" not in small
    assert "1 of 10" in paged and "x.gif" in paged
    caplog.clear()
    oddities = Oddities()
    preprocess_files(files[:1], Preprocessing(None, 40), oddities=oddities)
    oddities.log(1, 40)
    assert not caplog.messages


def test_a_crop_beyond_the_image_is_refused() -> None:
    with pytest.raises(MeddiffError, match=r"50x40 px.* 41\b"):
        preprocess(smooth(40, 50), crop=41, size=32)
