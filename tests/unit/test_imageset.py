"""Packed arrays hold what torchvision would make of each image, in the records' order."""

import errno
import hashlib
import io
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Compose, Resize, v2

from meddiff.arrays import load_images
from meddiff.data import imageset
from meddiff.data.imageset import pack, preprocess, preprocess_file, preprocess_mask
from meddiff.data.index import build_index, read_table
from meddiff.data.sources import COLUMNS
from meddiff.errors import MeddiffError


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw random smooth colours, uint8 (height, width, 3)."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def archive_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def index_of(
    path: Path, images: list[np.ndarray], masks: list[np.ndarray] | None = None
) -> pd.DataFrame:
    files = {f"i{n}.png": png(image) for n, image in enumerate(images)}
    files |= {f"m{n}.png": png(mask) for n, mask in enumerate(masks or [])}
    archive_of(path, files)
    columns: dict[str, object] = dict.fromkeys(COLUMNS, pd.NA) | {
        "id": [f"x/{n}" for n in range(len(images))],
        "edition": "x",
        "archive": str(path),
        "member": [f"i{n}.png" for n in range(len(images))],
        "label": ["benign" if n % 2 else "malignant" for n in range(len(images))],
    }
    if masks:
        columns |= {
            "mask_archive": str(path),
            "mask_member": [f"m{n}.png" for n in range(len(masks))],
        }
    return build_index(pd.DataFrame(columns).astype("string"))


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **{"quality": 90} | options)
    return file.getvalue()


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw smooth colours with fine detail, uint8 (height, width, 3)."""
    noise = 6 * np.random.default_rng(seed).normal(size=(height, width, 3))
    return np.clip(smooth(height, width, seed) + noise, 0, 255).astype(np.uint8)


def peer(data: bytes, crop: int | None, size: int, mode: str = "RGB") -> np.ndarray:
    """Prepare a file as ImageFolder and torchvision's transforms of Pillow images do."""
    return transformed(opened(data, mode), crop, size)


def opened(data: bytes, mode: str = "RGB") -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return ImageOps.exif_transpose(image).convert(mode)


def transformed(image: Image.Image, crop: int | None, size: int) -> np.ndarray:
    steps = [CenterCrop(crop or min(image.size)), Resize([size, size])]
    return np.array(Compose(steps)(image))


def off(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return absolute differences in grey levels."""
    assert found.shape == expected.shape and found.dtype == np.uint8
    return np.abs(found.astype(int) - expected)


def assert_exact(found: np.ndarray, expected: np.ndarray) -> None:
    assert off(found, expected).max() <= 1


def assert_fast(difference: np.ndarray) -> None:
    assert difference.mean() <= 0.5 and np.percentile(difference, 99.9) <= 8


def records_of(path: Path, files: dict[str, bytes]) -> pd.DataFrame:
    """Return what an index says of the files, as far as `pack` reads it."""
    digests = [hashlib.sha256(data).hexdigest() for data in files.values()]
    table = pd.DataFrame({"id": list(files), "member": list(files), "bytes_sha256": digests})
    return table.assign(label="benign", edition="x", archive=str(path))


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
    found = preprocess(image, crop=crop, size=size)
    assert found.shape == (size, size, 3)
    assert_exact(found, v2.Compose(steps)(tensor).numpy().transpose(1, 2, 0))
    assert_exact(found, peer(png(image), crop, size))


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
        found = preprocess_file(data, "x", crop=None, size=64, grey=grey)
        assert_exact(found, peer(data, None, 64, "L" if grey else "RGB"))

    def test_sixteen_bits(self) -> None:
        high = photograph(140, 150)[..., 0]
        data = png(high.astype(np.uint16) << 8 | 77)
        assert_exact(preprocess_file(data, "x", crop=None, size=64), peer(png(high), None, 64))

    def test_colour_turned_grey(self) -> None:
        data = jpeg(photograph(203, 301))
        found = preprocess_file(data, "x", crop=None, size=64, grey=True)
        assert_exact(found, peer(data, None, 64, "L"))

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
        window = imageset._centre

        def displaced(height: int, width: int, crop: int | None) -> tuple[int, int, int]:
            top, left, side = window(height, width, crop)
            return top, left + 1, side

        monkeypatch.setattr(imageset, "_centre", displaced)
        found = preprocess_file(data, "x", crop=None, size=64)
        assert off(found, peer(data, None, 64)).max() > 1


class TestFast:
    @pytest.mark.parametrize("shape", [(900, 1201), (1203, 640), (777, 777)])
    @pytest.mark.parametrize("crop", [None, 601])
    @pytest.mark.parametrize("subsampling", [0, 1, 2])
    def test_large_jpegs_stay_close(
        self, shape: tuple[int, int], crop: int | None, subsampling: int
    ) -> None:
        data = jpeg(photograph(*shape), subsampling=subsampling)
        for size in (32, 57, 64):
            found = preprocess_file(data, "x", crop=crop, size=size, decoding="fast")
            assert_fast(off(found, peer(data, crop, size)))
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
        assert imageset._shrink(side, side + 100, crop, size) == expected

    def test_small_jpegs_and_other_files_are_exact(self) -> None:
        for data in (jpeg(photograph(224, 224)), png(photograph(900, 900))):
            exact = preprocess_file(data, "x", crop=None, size=64)
            found = preprocess_file(data, "x", crop=None, size=64, decoding="fast")
            np.testing.assert_array_equal(found, exact)

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
            np.testing.assert_allclose(imageset._enlargement(kept) @ few, pixels, atol=1e-12)

    def test_weights_add_up_exactly(self) -> None:
        """Whole multiples of 2^-12 that add up to 1 and cannot leave float32's whole numbers."""
        for shrink in (4, 8):
            weights = imageset._weights(1001, 37, 903, 64, shrink)
            rows = np.concatenate([part.sum(1) for _, part in weights.bands])
            assert len(rows) == 64 and np.all(rows == 1)
            for _, part in weights.bands:
                assert np.all(part * 2**12 == np.rint(part * 2**12))
                gain = np.abs(part).sum(1).max()
                assert 255 * gain * gain * 4 * 2**12 < 2**24

    def test_neglected_blocks_are_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Were the smaller image taken as it comes, at the full window's place."""
        data = jpeg(photograph(900, 1201))
        monkeypatch.setattr(imageset, "_enlargement", lambda kept: np.eye(8)[:, :kept])
        imageset._weights.cache_clear()
        found = preprocess_file(data, "x", crop=None, size=64, decoding="fast")
        imageset._weights.cache_clear()
        with pytest.raises(AssertionError):
            assert_fast(off(found, peer(data, None, 64)))

    def test_another_way_of_decoding_is_refused(self) -> None:
        with pytest.raises(MeddiffError, match="decoding is 'quick': set it to one of"):
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
                found = preprocess_file(data, "x", crop=crop, size=64)
                assert_exact(found, peer(data, crop, 64))

    def test_grey(self, shape: tuple[int, int], orientation: int) -> None:
        data = oriented(photograph(*shape), orientation, "JPEG")
        for decoding, test in (
            ("exact", assert_exact),
            ("fast", lambda a, b: assert_fast(off(a, b))),
        ):
            found = preprocess_file(data, "x", crop=None, size=64, grey=True, decoding=decoding)
            test(found, peer(data, None, 64, "L"))

    def test_fast(self, shape: tuple[int, int], orientation: int) -> None:
        data = oriented(photograph(*shape), orientation, "JPEG")
        for crop in (None, 501):
            found = preprocess_file(data, "x", crop=crop, size=32, decoding="fast")
            assert_fast(off(found, peer(data, crop, 32)))


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientations_that_exif_does_not_know_turn_nothing(orientation: int) -> None:
    data = oriented(photograph(140, 180), orientation, "JPEG")
    assert_exact(preprocess_file(data, "x", crop=None, size=64), peer(data, None, 64))


@pytest.mark.parametrize("decoding", ["exact", "fast"])
def test_damaged_files_are_refused(decoding: Literal["exact", "fast"]) -> None:
    """Also where nobody compared their digest: never grey pixels in place of missing ones."""
    data = jpeg(photograph(600, 700))
    for kept in (0.0, 0.01, 0.3, 0.7, 0.99):
        with pytest.raises(MeddiffError, match=r"^a in b is not a readable image") as caught:
            preprocess_file(
                data[: int(kept * len(data))], "a in b", crop=None, size=32, decoding=decoding
            )
        assert "\n" not in str(caught.value)
    with pytest.raises(MeddiffError, match=r"^a in b: the image is 700x600 px, smaller"):
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
    found = preprocess_mask(mask, **options)
    assert set(np.unique(found)) <= {0, 255}
    assert np.all(found[shown >= 240] == 255) and np.all(found[shown <= 15] == 0)


def test_a_mask_covers_where_half_of_the_area_is_lesion() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[0, 0] = mask[2:, 2] = mask[2, 1] = 255
    expected = [[0, 0], [0, 255]]
    np.testing.assert_array_equal(preprocess_mask(mask, crop=None, size=2), expected)
    np.testing.assert_array_equal(preprocess_mask(mask // 255, crop=None, size=2), expected)
    assert not preprocess_mask(np.zeros_like(mask), crop=None, size=2).any()


def test_a_crop_beyond_the_image_is_refused() -> None:
    with pytest.raises(MeddiffError, match="50x40 px, smaller than the crop of 41"):
        preprocess(smooth(40, 50), crop=41, size=32)


class Packed(NamedTuple):
    images: np.ndarray
    table: pd.DataFrame


def packed_set(out: dict[str, Path]) -> Packed:
    return Packed(np.load(out["out_array"]), read_table(out["out_table"]))


class TestPack:
    @pytest.fixture
    def out(self, tmp_path: Path) -> dict[str, Path]:
        return {"out_array": tmp_path / "set" / "x.npy", "out_table": tmp_path / "set" / "x.csv"}

    def test_rows_are_the_records_in_their_order(
        self, tmp_path: Path, out: dict[str, Path]
    ) -> None:
        images = [smooth(50, 60, seed) for seed in range(6)]
        index = index_of(tmp_path / "a.zip", images).assign(group=[3, 3, 1, 0, 2, 5])
        records = index.loc[[4, 0, 5, 2]]
        counted: list[int] = []
        pack(records, crop=None, size=32, progress=counted.append, workers=2, **out)
        packed = packed_set(out)
        assert packed.images.shape == (4, 32, 32, 3) and sum(counted) == 4
        for row, n in enumerate([4, 0, 5, 2]):
            expected = preprocess(images[n], crop=None, size=32)
            np.testing.assert_array_equal(packed.images[row], expected)
        assert list(packed.table) == [
            "id",
            "label",
            "edition",
            "group",
            "source_sha256",
            "decoding",
        ]
        assert set(packed.table["decoding"]) == {"exact"}
        assert packed.table["id"].tolist() == ["x/4", "x/0", "x/5", "x/2"]
        assert packed.table["group"].tolist() == [2, 3, 5, 1]
        assert packed.table["source_sha256"][0] == hashlib.sha256(png(images[4])).hexdigest()

    def test_plain_numpy_reads_the_array(self, tmp_path: Path, out: dict[str, Path]) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40, seed) for seed in range(9)])
        pack(index, crop=None, size=32, **out)
        array = np.load(out["out_array"])
        assert array.dtype == np.uint8 and array.flags.c_contiguous
        np.testing.assert_array_equal(load_images(out["out_array"]), array)

    @pytest.mark.parametrize("decoding", ["exact", "fast"])
    def test_threads_do_not_change_the_result(
        self, tmp_path: Path, out: dict[str, Path], decoding: Literal["exact", "fast"]
    ) -> None:
        """Small files go to the threads in groups, large ones one by one."""
        files = {f"{n:03}.jpg": jpeg(photograph(24, 20, seed=n)) for n in range(600)}
        files |= {f"{n:03}.jpg": jpeg(photograph(480 + n, 500, seed=n)) for n in range(0, 600, 60)}
        index = records_of(archive_of(tmp_path / "a.zip", files), files).sample(
            frac=1, random_state=0
        )
        packed = []
        for workers in (1, 4, 1):
            pack(index, crop=None, size=32, workers=workers, decoding=decoding, **out)
            packed.append((out["out_array"].read_bytes(), out["out_table"].read_bytes()))
        assert packed[0] == packed[1] == packed[2]
        images, table = packed_set(out)
        assert set(table["decoding"]) == {decoding}
        for row in (0, 1, 300, 599, int((table["id"] == "060.jpg").argmax())):
            data = files[table["id"][row]]
            expected = preprocess_file(data, "x", crop=None, size=32, decoding=decoding)
            np.testing.assert_array_equal(images[row], expected)

    @pytest.mark.parametrize("decoding", ["exact", "fast"])
    def test_masks_lie_on_their_images_however_those_are_decoded(
        self, tmp_path: Path, out: dict[str, Path], decoding: Literal["exact", "fast"]
    ) -> None:
        """An image that shows its own mask; an odd margin, an asymmetric lesion."""
        mask = np.zeros((902, 1203), np.uint8)
        mask[301:520, 405:1001] = 255
        files = {"i.jpg": jpeg(np.repeat(mask[..., None], 3, axis=2)), "m.png": png(mask)}
        path = archive_of(tmp_path / "a.zip", files)
        index = (
            records_of(path, files)
            .iloc[:1]
            .assign(
                mask_archive=str(path),
                mask_member="m.png",
                mask_sha256=hashlib.sha256(files["m.png"]).hexdigest(),
            )
        )
        options = {"crop": None, "size": 64, "decoding": decoding}
        pack(index, **options, **out)
        shown = packed_set(out).images[0, ..., 0]
        pack(index, masks=True, **options, **out)
        found = packed_set(out)
        assert found.table["decoding"].tolist() == ["exact"]
        sure = (shown >= 200) | (shown <= 55)
        assert sure.mean() > 0.9
        np.testing.assert_array_equal(found.images[0, ..., 0][sure], 255 * (shown[sure] > 127))

    def test_grey_has_one_channel(self, tmp_path: Path, out: dict[str, Path]) -> None:
        grey = smooth(64, 64)[..., 0]
        pack(index_of(tmp_path / "a.zip", [grey]), crop=45, size=32, grey=True, **out)
        packed = load_images(out["out_array"])
        assert packed.shape == (1, 32, 32, 1)
        np.testing.assert_array_equal(packed[0, ..., 0], preprocess(grey, crop=45, size=32))

    def test_masks_have_one_channel_of_two_values(
        self, tmp_path: Path, out: dict[str, Path]
    ) -> None:
        masks = [np.uint8(255) * (smooth(50, 60, seed)[..., 0] > 128) for seed in (1, 2)]
        index = index_of(tmp_path / "a.zip", [smooth(50, 60)] * 2, masks)
        pack(index, crop=None, size=32, masks=True, **out)
        packed = packed_set(out)
        assert packed.images.shape == (2, 32, 32, 1)
        for n, mask in enumerate(masks):
            expected = preprocess_mask(mask, crop=None, size=32)
            np.testing.assert_array_equal(packed.images[n, ..., 0], expected)
        assert packed.table["source_sha256"][1] == hashlib.sha256(png(masks[1])).hexdigest()

    def test_images_without_masks_are_named(self, tmp_path: Path, out: dict[str, Path]) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40)] * 2)
        with pytest.raises(MeddiffError, match="2 images have no mask: x/0, x/1"):
            pack(index, crop=None, size=32, masks=True, **out)

    def test_a_source_that_changed_is_refused_and_nothing_is_written(
        self, tmp_path: Path, out: dict[str, Path]
    ) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40, seed) for seed in range(3)])
        pack(index, crop=None, size=32, **out)
        before = {path: path.read_bytes() for path in out.values()}
        archive_of(
            tmp_path / "a.zip", {f"i{n}.png": png(smooth(40, 40, n + (n == 1))) for n in range(3)}
        )
        with pytest.raises(MeddiffError, match=r"i1\.png in .*a\.zip changed since it was indexed"):
            pack(index, crop=None, size=32, **out)
        assert {path: path.read_bytes() for path in out.values()} == before
        assert sorted(out["out_array"].parent.iterdir()) == sorted(out.values())

    def test_an_image_below_the_crop_is_named(self, tmp_path: Path, out: dict[str, Path]) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(64, 64), smooth(40, 64)])
        with pytest.raises(MeddiffError, match=r"i1\.png in .*: the image is 64x40 px, smaller"):
            pack(index, crop=45, size=32, **out)

    def test_no_images(self, tmp_path: Path, out: dict[str, Path]) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40)])
        with pytest.raises(MeddiffError, match=r"no images to pack into .*x\.npy"):
            pack(index.iloc[:0], crop=None, size=32, **out)

    def test_a_full_disk_is_an_error_not_a_crash(self, tmp_path: Path, small_disk: Path) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40)] * 30)
        with pytest.raises(MeddiffError, match="no space left on the disk"):
            pack(
                index,
                crop=None,
                size=128,
                out_array=small_disk / "x.npy",
                out_table=small_disk / "x.csv",
            )
        assert list(small_disk.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small file system here: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class TestLoad:
    def test_a_truncated_array(self, tmp_path: Path) -> None:
        path = tmp_path / "x.npy"
        np.save(path, np.zeros((3, 8, 8, 3), np.uint8))
        data = path.read_bytes()
        for kept in (0, 5, 60, len(data) - 1):
            path.write_bytes(data[:kept])
            with pytest.raises(MeddiffError, match=r"x\.npy is not a whole image array"):
                load_images(path)

    def test_a_missing_array(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=rf"absent\.npy.*{errno.ENOENT}"):
            load_images(tmp_path / "absent.npy")

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((3, 8, 8, 3), np.float32),
            np.zeros((3, 8, 8), np.uint8),
            np.zeros((3, 8, 8, 2), np.uint8),
        ],
    )
    def test_other_arrays(self, tmp_path: Path, array: np.ndarray) -> None:
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(MeddiffError, match=r"not uint8 \(n, height, width, 1 or 3\)"):
            load_images(tmp_path / "x.npy")

    def test_pickles_are_not_run(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
        with pytest.raises(MeddiffError, match="not a whole image array"):
            load_images(tmp_path / "x.npy")

    def test_images_are_read_only(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros((3, 8, 8, 3), np.uint8))
        with pytest.raises(ValueError, match="read-only"):
            load_images(tmp_path / "x.npy")[0] = 1
