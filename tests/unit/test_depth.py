"""Images of more than 8 bits: one window for a set, whatever strays in it."""

import io
import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from meddiff.cli import main
from meddiff.core.errors import MeddiffError
from meddiff.core.files import write_csv
from meddiff.data.index import build_index, read_index
from meddiff.data.preprocessing.files import Preprocessing
from meddiff.data.preprocessing.packing import pack_images
from meddiff.data.readers import depth, frames
from meddiff.data.readers.decode import decode_grey
from meddiff.data.readers.depth import apply_window
from meddiff.data.readers.frames import Frame, Tones, encoding_of, to_bytes, tones_of
from meddiff.data.readers.windows import choose_window, window_texts, windows_of
from meddiff.data.sources.tables import COLUMNS
from meddiff.evaluation.image_sets import read_image_set
from pictures import photograph

COUNT, SIDE = 24, 48
GREYS = [photograph(SIDE, SIDE, seed)[..., 0] for seed in range(COUNT)]
"""What the sets below show, in 8 bits."""


def tiff(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF")
    return file.getvalue()


def of_bits(bits: int) -> list[np.ndarray]:
    chance = np.random.default_rng(bits)
    spare = bits - 8
    return [
        (grey.astype(np.uint16) << spare) + chance.integers(0, 1 << spare, grey.shape, np.uint16)
        for grey in GREYS
    ]


def written(folder: Path, images: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        (folder / f"{number:02}.tif").write_bytes(tiff(image))
    return folder


def records_of(folder: Path) -> pd.DataFrame:
    names = sorted(path.name for path in folder.iterdir())
    columns = dict.fromkeys(COLUMNS, pd.NA) | {"id": names, "member": names}
    table = pd.DataFrame(columns).assign(edition="x", label="a", archive=str(folder))
    return table.astype("string")


def packed(folder: Path, out: Path, decoding: str = "exact") -> tuple[np.ndarray, pd.DataFrame]:
    """Index and pack a folder as the workflow does, through the tables on disk."""
    write_csv(build_index(records_of(folder), grey=True), out / "index.csv")
    how = Preprocessing(crop=None, size=SIDE, grey=True, decoding=decoding)
    pack_images(read_index(out / "index.csv"), how, out / "x.npy", out / "x.csv")
    return np.load(out / "x.npy")[..., 0], read_index(out / "x.csv")


def mark(images: list[np.ndarray], level: float = 65535) -> list[np.ndarray]:
    """Burn a marker of 1.6 % of the pixels into each image, and a hot pixel."""
    for image in images:
        image[1:7, 1:7] = level
        image[40, 40] = level
    return images


class TestASet:
    @pytest.mark.parametrize("bits", [9, 10, 12, 13, 14, 16])
    @pytest.mark.parametrize("marked", [False, True])
    def test_of_any_depth_keeps_its_upper_bits(
        self, tmp_path: Path, bits: int, marked: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        images = of_bits(bits)
        greys = np.stack(GREYS)
        if marked:
            mark(images)
            mark(list(greys), 255)
        caplog.set_level(logging.WARNING)
        result, table = packed(written(tmp_path / "images", images), tmp_path)
        np.testing.assert_array_equal(result, greys)
        assert table["window"].unique().tolist() == [f"uint16: 0 {2**bits - 1}"]
        (line,) = caplog.messages
        assert f"{COUNT} of {COUNT}" in line and str(2**bits - 1) in line

    def test_of_levels_between_0_and_1(self, tmp_path: Path) -> None:
        images = [(grey / 255).astype(np.float32) for grey in GREYS]
        result, table = packed(written(tmp_path / "images", images), tmp_path)
        np.testing.assert_array_equal(result, np.stack(GREYS))
        assert table["window"].unique().tolist() == ["float32: 0 1"]

    @pytest.mark.parametrize(
        "stored",
        [
            lambda grey: grey.astype(np.float32) * 8 - 1024,
            lambda grey: grey.astype(np.int32) * 8 - 1024,
            lambda grey: grey.astype(np.uint16) * 8 + 32768,
            lambda grey: grey.astype(np.float32) * 1e-6,
            lambda grey: grey.astype(np.int32) * 1_000_000 - 7,
        ],
    )
    def test_of_an_unusual_range_fills_the_greys(
        self, tmp_path: Path, stored: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        """Hounsfield units, signed levels stored unsigned, tiny and huge numbers."""
        result, _ = packed(written(tmp_path / "images", [stored(grey) for grey in GREYS]), tmp_path)
        truth = np.stack(GREYS).astype(float)
        assert np.ptp(result) >= 250
        assert np.corrcoef(result.ravel(), truth.ravel())[0, 1] > 0.99

    def test_may_be_padded_or_marked_at_large(self, tmp_path: Path) -> None:
        """A third of each image around it, or a twentieth in it, far beyond all other levels."""
        scans = [grey.astype(np.int32) * 8 - 1024 for grey in GREYS]
        marked = of_bits(12)
        for scan, image in zip(scans, marked, strict=True):
            scan[:, :16] = -32768
            image[:2, :] = 65535
        result, table = packed(written(tmp_path / "scans", scans), tmp_path)
        assert np.ptp(result[:, :, 16:]) >= 250 and not result[:, :, :16].any()
        result, table = packed(written(tmp_path / "marked", marked), tmp_path)
        np.testing.assert_array_equal(result[:, 2:], np.stack(GREYS)[:, 2:])
        assert (result[:, :2] == 255).all() and table["window"][0] == "uint16: 0 4095"

    def test_keeps_the_brightness_of_its_images_apart(self, tmp_path: Path) -> None:
        images = [image // (1 + number % 3) for number, image in enumerate(of_bits(12))]
        result, _ = packed(written(tmp_path / "images", images), tmp_path)
        np.testing.assert_array_equal(result, [image >> 4 for image in images])

    @pytest.mark.parametrize("level", [0, 40, 65535])
    def test_may_hold_a_dark_or_a_blank_frame(self, tmp_path: Path, level: int) -> None:
        images = of_bits(16)
        images[3][:] = level
        result, _ = packed(written(tmp_path / "images", images), tmp_path)
        np.testing.assert_array_equal(result, [image >> 8 for image in images])

    def test_names_the_image_that_one_window_cannot_show(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        images = of_bits(16)
        images[3] = of_bits(12)[3]
        packed(written(tmp_path / "images", images), tmp_path)
        assert "03.tif" in caplog.messages[1] and "1 of them" in caplog.messages[1]

    def test_of_two_ranges_is_refused(self, tmp_path: Path) -> None:
        images = of_bits(16)[:12] + of_bits(12)[12:]
        with pytest.raises(MeddiffError, match=rf"{COUNT} of {COUNT} .*12 of them.*12\.tif"):
            build_index(records_of(written(tmp_path / "images", images)))

    def test_of_8_bits_has_no_window(self, tmp_path: Path) -> None:
        result, table = packed(written(tmp_path / "images", GREYS), tmp_path)
        np.testing.assert_array_equal(result, GREYS)
        assert "window" not in table

    def test_may_hold_several_types(self, tmp_path: Path) -> None:
        deep, unit = of_bits(12), [(grey / 255).astype(np.float32) for grey in GREYS]
        images = [*deep[:8], *unit[8:16], *GREYS[16:]]
        result, table = packed(written(tmp_path / "images", images), tmp_path)
        np.testing.assert_array_equal(result, GREYS)
        texts = ["uint16: 0 4095"] * 8 + ["float32: 0 1"] * 8 + [pd.NA] * 8
        assert table["window"].tolist() == texts

    def test_has_one_window_whatever_the_order_and_the_threads(self, tmp_path: Path) -> None:
        records = records_of(written(tmp_path / "images", mark(of_bits(12))))
        one = build_index(records)
        pd.testing.assert_frame_equal(build_index(records, workers=3), one)
        pd.testing.assert_frame_equal(build_index(records.iloc[::-1]).sort_index(), one)


class TestTwoSets:
    """As `meddiff evaluate` reads them: the first set's window holds for the second."""

    def read(self, *folders: Path) -> list[np.ndarray]:
        windows: dict[str, depth.Window] = {}
        return [
            read_image_set(folder, crop=None, size=SIDE, windows=windows)[..., 0]
            for folder in folders
        ]

    def test_share_a_window(self, tmp_path: Path) -> None:
        dim = [image // 4 for image in of_bits(12)]
        folders = written(tmp_path / "a", of_bits(12)), written(tmp_path / "b", dim)
        bright, dark = self.read(*folders)
        np.testing.assert_array_equal(bright, GREYS)
        np.testing.assert_array_equal(dark, [image >> 4 for image in dim])

    @pytest.mark.parametrize("bits", [(16, 12), (12, 16)])
    def test_of_two_ranges_are_refused(self, tmp_path: Path, bits: tuple[int, int]) -> None:
        """Else one of them would be black, or white."""
        folders = [written(tmp_path / name, of_bits(n)) for name, n in zip("ab", bits, strict=True)]
        with pytest.raises(MeddiffError, match=r"00\.tif in .*b"):
            self.read(*folders)

    def test_are_compared_by_the_command(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folders = [written(tmp_path / name, of_bits(n)) for name, n in (("a", 12), ("b", 16))]
        options = ["--extractor", "none", "--size", str(SIDE)]
        assert main(["evaluate", *map(str, folders), *options]) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("error: ") and str(folders[1]) in line

    def test_of_two_types_have_their_own(self, tmp_path: Path) -> None:
        unit = [(grey / 255).astype(np.float32) for grey in GREYS]
        sets = written(tmp_path / "a", of_bits(14)), written(tmp_path / "b", unit)
        for result in self.read(*sets):
            np.testing.assert_array_equal(result, GREYS)


def bright_parts(peaks: np.ndarray, floor: float, side: int = 128) -> list[np.ndarray]:
    """Noise below 200, and in it a round part of 1.9 % of the pixels from `floor` to a peak."""
    chance = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] - side // 2
    away = (x**2 + y**2) * (128 / side) ** 2
    return [
        np.clip(chance.normal(100, 25, away.shape), 0, 200)
        + np.where((away < 100) | (floor == 0), floor + (peak - floor) * np.exp(-away / 40), 0)
        for peak in peaks
    ]


class TestABrightPart:
    """Positron emission, scintigraphy, fluorescence: the signal is small and bright."""

    @pytest.mark.parametrize("type", [np.uint16, np.int32, np.float32])
    @pytest.mark.parametrize(
        ("peaks", "floor"),
        [
            (np.full(12, 30000), 2000),
            (np.linspace(5000, 60000, 12), 2000),
            (np.full(12, 8000), 0),
            (np.linspace(6000, 8000, 40), 0),
        ],
    )
    def test_keeps_its_levels(
        self, tmp_path: Path, peaks: np.ndarray, floor: float, type: type
    ) -> None:
        images = [image.astype(type) for image in bright_parts(peaks, floor)]
        result = read_image_set(written(tmp_path / "x", images), crop=None, size=128)
        (brightest,) = result[np.argmax(peaks)][None, ..., 0]
        centre = brightest[54:75, 54:75]
        assert len(np.unique(centre)) > 40 and centre.max() > 220 and (centre == 255).mean() < 0.02
        peak = result.reshape(len(result), -1).max(axis=1).astype(float)
        assert np.corrcoef(peak, peaks)[0, 1] > 0.99 if np.ptp(peaks) else np.ptp(peak) < 12

    def test_in_few_images_of_many_is_told_from_another_range(self, tmp_path: Path) -> None:
        """No window shows both; the image that reaches farthest is named."""
        images = [image.astype(np.uint16) for image in bright_parts(np.zeros(40), 0)]
        images[7] = bright_parts(np.array([30000]), 2000)[0].astype(np.uint16)
        with pytest.raises(MeddiffError, match=r"07\.tif"):
            build_index(records_of(written(tmp_path / "x", images)))


class TestColour:
    """Pillow decodes the high bytes of 16-bit colour only."""

    COLOURS = np.stack([photograph(SIDE, SIDE, seed) for seed in range(9)])

    def deep(self, bits: int, marked: bool = False) -> list[np.ndarray]:
        chance = np.random.default_rng(bits)
        low = chance.integers(0, 1 << bits - 8, self.COLOURS.shape, np.uint16)
        images = list((self.COLOURS.astype(np.uint16) << bits - 8) + low)
        return mark(images) if marked else images

    @staticmethod
    def folder(folder: Path, images: list[np.ndarray], suffix: str) -> Path:
        folder.mkdir()
        for number, image in enumerate(images):
            cv2.imwrite(str(folder / f"{number:02}{suffix}"), image[..., ::-1])
        return folder

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    @pytest.mark.parametrize("marked", [False, True])
    @pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
    def test_of_any_depth_keeps_its_upper_bits(
        self, tmp_path: Path, bits: int, marked: bool, suffix: str
    ) -> None:
        folder = self.folder(tmp_path / "x", self.deep(bits, marked), suffix)
        result = read_image_set(folder, crop=None, size=SIDE)
        expected = mark(list(self.COLOURS.copy()), 255) if marked else self.COLOURS
        np.testing.assert_array_equal(result, expected)

    def test_of_two_ranges_is_refused(self, tmp_path: Path) -> None:
        images = self.deep(16)[:5] + self.deep(12)[5:]
        with pytest.raises(MeddiffError, match=r"9 of 9 .*4 of them.*05\.png"):
            read_image_set(self.folder(tmp_path / "x", images, ".png"), crop=None, size=SIDE)

    def test_of_a_second_set_has_the_first_one_s_window(self, tmp_path: Path) -> None:
        windows: dict[str, depth.Window] = {}
        for name, images in {"a": self.deep(12), "b": [i // 2 for i in self.deep(12)]}.items():
            folder = self.folder(tmp_path / name, images, ".png")
            result = read_image_set(folder, crop=None, size=SIDE, windows=windows)
        np.testing.assert_array_equal(result, np.stack(self.deep(12)) >> 5)


def test_windows_survive_a_table() -> None:
    windows = {"uint16": (0.0, 4095.0), "float32": (-1024.5, 1.0 / 3), "uint16 RGB": (0.0, 65535.0)}
    types = pd.Series([*windows, pd.NA], dtype="string")
    result = windows_of(pd.DataFrame({"window": window_texts(types, windows)}))
    assert result == windows


@pytest.mark.parametrize("top", [1, 2, 5, 200])
def test_masks_of_few_levels_reach_white(top: int) -> None:
    levels = np.repeat(np.arange(top + 1.0), 8)[None]
    window = choose_window(levels, whole=True)
    greys = apply_window(levels, window, whole=True)
    assert greys.min() == 0 and greys.max() == (255 if top < 64 else top)


@pytest.mark.parametrize("bits", range(8, 17))
def test_windows_of_whole_depths_keep_the_upper_bits(bits: int) -> None:
    levels = np.arange(2**bits)
    result = apply_window(levels, (0, 2**bits - 1), whole=True)
    np.testing.assert_array_equal(result, levels >> bits - 8)


@pytest.mark.parametrize("bits", [10, 12, 14, 15])
@pytest.mark.parametrize("share", [0.0001, 0.004, 0.016, 0.03, 0.06, 0.2])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("blurred", [False, True])
def test_markers_never_widen_a_window(bits: int, share: float, every: int, blurred: bool) -> None:
    """Also with an edge of levels between, in all images or each second one."""
    chance = np.random.default_rng(bits)
    levels = chance.integers(0, 2**bits, (24, depth.N_QUANTILES)).astype(float)
    count = round(share * depth.N_QUANTILES)
    levels[::every, :count] = 65535
    if blurred:
        edge = min(count // 4, 4)
        levels[::every, :edge] = chance.integers(2**bits, 65535, (24 // every, edge))
    low, high = choose_window(np.sort(levels, axis=1), whole=True)
    assert low == 0 and high in (2**bits - 1, 2 ** (bits + blurred) - 1)


@given(st.integers(8, 16), st.floats(0.6, 1), st.floats(0, 0.018), st.integers(0, 2**32 - 1))
def test_strays_never_widen_a_window(bits: int, fill: float, strays: float, seed: int) -> None:
    """Levels of `bits` bits, and up to 1.8 % of others at the end of the file's range."""
    chance = np.random.default_rng(seed)
    top = 2**bits - 1
    levels = np.sort(np.floor(chance.uniform(0, fill * (top + 1), (20, depth.N_QUANTILES))), axis=1)
    count = int(strays * levels.size)
    if count and bits < 15:
        levels.ravel()[chance.permutation(levels.size)[:count]] = 65535
    assert choose_window(levels, whole=True) == (0, top)


def as_tiff(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values)
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("low", [0.0, -300.0])
def test_a_window_of_the_user_goes_before_that_of_the_type(dtype: type, low: float) -> None:
    values = np.arange(4096).reshape(64, 64).astype(dtype)
    data = as_tiff(values) if dtype != np.int32 else as_frame(values)
    windows = {"all": (low, 3000.0), "uint16": (0.0, 1.0), "int32": (0.0, 1.0)}
    expected = np.floor((values.astype(float) - low) * 256 / (3000 - low)).clip(0, 255)
    np.testing.assert_array_equal(decode_grey(data, "x", windows), expected)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_percentiles_are_those_of_each_file(dtype: type) -> None:
    rng = np.random.default_rng(0)
    for scale in (100, 40_000):
        values = (scale * rng.random((64, 64))).astype(dtype)
        low, high = np.percentile(values, [2, 97])
        expected = np.floor((values.astype(float) - low) * 256 / (high - low)).clip(0, 255)
        greys = decode_grey(as_tiff(values), "x", {"percentiles": (2, 97)})
        np.testing.assert_allclose(greys, expected, atol=1 if dtype == np.uint16 else 0)
    flat = decode_grey(as_tiff(np.full((8, 8), 7, dtype)), "x", {"percentiles": (2, 97)})
    assert len(np.unique(flat)) == 1


def test_a_window_of_the_user_leaves_8_bits_alone() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for windows in ({"all": (0.0, 10.0)}, {"percentiles": (40.0, 60.0)}):
        np.testing.assert_array_equal(decode_grey(as_tiff(values), "x", windows), values)


@settings(max_examples=60)
@given(
    levels=arrays(
        st.sampled_from(["?", "u1", "i1", "<u2", ">u2", "<i2", "<i4", "<u4", "<f4", ">f4", "<f8"]),
        st.tuples(st.integers(1, 6), st.integers(1, 6)),
        elements={"allow_nan": False, "min_value": 0, "max_value": 100},
    ),
    inverted=st.booleans(),
)
def test_a_frame_is_read_back_as_it_was(levels: np.ndarray, inverted: bool) -> None:
    """Levels of any type, by a curve of three points."""
    curve = ((0.0, 50.0, 100.0), (0.0, 200.0, 255.0))
    data = to_bytes(Frame(levels, "test", Tones(curve, inverted)))
    with Image.open(io.BytesIO(data)) as image:
        assert tones_of(image) == Tones(curve, inverted) and encoding_of(image) == "test"
    greys = decode_grey(data, "x")
    if levels.dtype.itemsize == 1 and levels.dtype.kind != "i":
        expected = 255 * levels if levels.dtype == bool else levels
    else:
        expected = np.rint(np.interp(levels, *curve))
        expected = 255 - expected if inverted else expected
    np.testing.assert_array_equal(greys, expected.astype(np.uint8))


@pytest.mark.parametrize("content", ["{", "[1]", '{"curve": 3}', '{"curve": [[1], [2]]}'])
def test_tags_of_others_are_no_tones(content: str) -> None:
    file = io.BytesIO()
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(levels).save(file, "TIFF", tiffinfo={frames.TAG: content})
    greys = decode_grey(file.getvalue(), "x", {"uint16": (0.0, 255.0)})
    np.testing.assert_array_equal(greys, levels)


def as_frame(values: np.ndarray) -> bytes:
    return to_bytes(Frame(values, "test"))
