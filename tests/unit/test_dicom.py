"""DICOM files written by pydicom: levels, windows, patients, faults."""

import gzip
import io
import logging
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut
from pydicom.sequence import Sequence

from hospital import SECRETS, dicom, saved
from meddiff.core.errors import MeddiffError
from meddiff.data.listing import list_images
from meddiff.data.readers import pseudonyms
from meddiff.data.readers.settings import Reading

RAMP = np.arange(4096, dtype=np.int16).reshape(64, 64)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pseudonyms.VARIABLE, "a secret of the tests")


def read(path: Path, size: int = 64, **choices: Any) -> np.ndarray:
    """Red channel of all images below a path, (n,size,size)."""
    listing = list_images(path, Reading(**choices))
    images = listing.pixels(crop=None, size=size)
    assert (images == images[..., :1]).all()
    return images[..., 0]


class TestDicom:
    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    @pytest.mark.parametrize(
        ("function", "centre", "width"),
        [
            ("LINEAR", 40, 400),
            ("LINEAR_EXACT", 1000, 300.5),
            ("SIGMOID", 500, 800),
            ("LINEAR", 5, 1),
        ],
    )
    def test_window_is_that_of_the_standard(
        self, tmp_path: Path, photometric: str, function: str, centre: float, width: float
    ) -> None:
        file = dicom(RAMP, PhotometricInterpretation=photometric, RescaleSlope=1,
                     RescaleIntercept=-1024, WindowCenter=[centre, 1], WindowWidth=[width, 1],
                     VOILUTFunction=function)  # fmt: skip
        theirs = apply_voi_lut(RAMP - 1024.0, file)
        low, high = theirs.min(), theirs.max()
        if function == "SIGMOID":  # their ends are those of the type, which it does not reach
            low, high = -(2.0**15) - 1024, 2.0**15 - 1 - 1024
        expected = 255 * (theirs - low) / (high - low)
        expected = 255 - expected if photometric == "MONOCHROME1" else expected
        np.testing.assert_allclose(read(saved(tmp_path / "a.dcm", file))[0], expected, atol=0.51)

    def test_voi_table(self, tmp_path: Path) -> None:
        item = Dataset()
        item.LUTDescriptor = [4096, 0, 16]
        item.LUTData = [int(65535 * (n / 4095) ** 2) for n in range(4096)]
        item["LUTData"].VR = item["LUTDescriptor"].VR = "US"
        file = dicom(RAMP.astype(np.uint16), VOILUTSequence=Sequence([item]), BitsStored=12,
                     HighBit=11, WindowCenter=1, WindowWidth=1)  # fmt: skip
        expected = 255 * (RAMP / 4095.0) ** 2
        np.testing.assert_allclose(read(saved(tmp_path / "a.dcm", file))[0], expected, atol=0.51)

    def test_window_of_the_user_is_in_hounsfield_units(self, tmp_path: Path) -> None:
        file = dicom(RAMP, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=9)
        images = read(saved(tmp_path / "a.dcm", file), window=(-160, 240))
        expected = np.floor((2.0 * RAMP - 1000 + 160) * 256 / 400).clip(0, 255)
        np.testing.assert_array_equal(images[0], expected)
        images = read(tmp_path, percentiles=(25, 75))
        low, high = np.percentile(2.0 * RAMP - 1000, [25, 75])
        expected = np.floor((2.0 * RAMP - 1000 - low) * 256 / (high - low)).clip(0, 255)
        np.testing.assert_array_equal(images[0], expected)

    def test_without_a_window_the_set_has_one(self, tmp_path: Path) -> None:
        for number, scale in enumerate((1, 2)):
            file = dicom((RAMP // scale).astype(np.uint16), PhotometricInterpretation="MONOCHROME1")
            saved(tmp_path / f"{number}.dcm", file)
        images = read(tmp_path)
        np.testing.assert_array_equal(images[0], 255 - RAMP // 16)
        np.testing.assert_array_equal(images[1], 255 - RAMP // 32)

    def test_frames(self, tmp_path: Path) -> None:
        film = np.arange(7, dtype=np.uint8)[:, None, None] * np.ones((7, 8, 8), np.uint8)
        saved(tmp_path / "film.dcm", dicom(film))
        saved(tmp_path / "one.dcm", dicom(film[0]))
        listing = list_images(tmp_path, Reading(slices=3))
        ids = ["film.dcm#0", "film.dcm#3", "film.dcm#6", "one.dcm"]
        assert listing.rows["id"].tolist() == ids
        assert listing.pixels(crop=None, size=8)[:, 0, 0, 0].tolist() == [0, 3, 6, 0]
        assert list_images(tmp_path).rows["id"].tolist() == ["film.dcm#3", "one.dcm"]

    def test_windows_of_single_frames(self, tmp_path: Path) -> None:
        """Enhanced CT has rescale for all and a window for each frame, in functional groups."""

        def group(**sequences: dict[str, float]) -> Dataset:
            item = Dataset()
            for name, values in sequences.items():
                inner = Dataset()
                for key, value in values.items():
                    setattr(inner, key, value)
                setattr(item, name, Sequence([inner]))
            return item

        shared = {"RescaleSlope": 1, "RescaleIntercept": -100}
        frames = [{"WindowCenter": c, "WindowWidth": 100} for c in (0, 1000)]
        file = dicom(
            np.stack([RAMP, RAMP]),
            SharedFunctionalGroupsSequence=Sequence(
                [group(PixelValueTransformationSequence=shared)]
            ),
            PerFrameFunctionalGroupsSequence=Sequence(
                [group(FrameVOILUTSequence=frame) for frame in frames]
            ),
        )
        images = read(saved(tmp_path / "a.dcm", file), slices=1)
        for image, centre in zip(images, (0, 1000), strict=True):
            expected = (255 * ((RAMP - 100.0 - (centre - 0.5)) / 99 + 0.5)).clip(0, 255)
            np.testing.assert_allclose(image, expected, atol=0.51)

    @pytest.mark.parametrize("name", ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian"])
    def test_encodings_of_one_image(self, tmp_path: Path, name: str) -> None:
        """Files that come with pydicom: one magnetic resonance image, encoded without loss."""
        images = []
        for end in ("", f"_{name}"):
            shutil.copy(get_testdata_file(f"MR_small{end}.dcm"), tmp_path / f"x{end}.dcm")
        images = read(tmp_path)
        np.testing.assert_array_equal(images[0], images[1])
        file = dcmread(tmp_path / "x.dcm")
        theirs = apply_voi_lut(file.pixel_array, file).astype(float)
        expected = 255 * (theirs + 2**15) / (2**16 - 1)
        np.testing.assert_allclose(images[0], expected, atol=0.51)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("MR_truncated", r"x\.dcm .*Explicit VR Little Endian"),
            ("image_dfl", r"x\.dcm .*deflated"),
            ("badVR", r"x\.dcm .*header"),
            ("no_meta", r"x\.dcm .*no DICOM file"),
            ("rtplan", r"no images .*x\.dcm"),
        ],
    )
    def test_files_of_others_that_are_no_images(
        self, tmp_path: Path, name: str, message: str
    ) -> None:
        shutil.copy(get_testdata_file(f"{name}.dcm"), tmp_path / "x.dcm")
        with pytest.raises(MeddiffError, match=message) as error:
            read(tmp_path)
        assert "\n" not in str(error.value)

    def test_colours(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        rgb = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        saved(tmp_path / "rgb.dcm", dicom(rgb))
        indices = rng.integers(0, 4, (16, 16), dtype=np.uint8)
        table = np.array([[0, 10, 20, 255], [1, 2, 3, 4], [9, 8, 7, 6]], np.uint8)
        palette = dicom(indices, PhotometricInterpretation="PALETTE COLOR")
        for name, colours in zip(("Red", "Green", "Blue"), table, strict=True):
            setattr(palette, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 8])
            setattr(palette, f"{name}PaletteColorLookupTableData", colours.tobytes())
        saved(tmp_path / "palette.dcm", palette)
        images = list_images(tmp_path).pixels(crop=None, size=16)
        np.testing.assert_array_equal(images[0], table.T[indices])
        np.testing.assert_array_equal(images[1], rgb)

    def test_files_need_no_suffix(self, tmp_path: Path) -> None:
        for name in ("IM0001", "1.2.840.113.77", "sub/x.IMA"):
            saved(tmp_path / name, dicom(np.full((8, 8), 7, np.uint8)))
        (tmp_path / "DICOMDIR").write_bytes((tmp_path / "IM0001").read_bytes())
        (tmp_path / "README").write_text("none")
        assert list_images(tmp_path).rows["id"].tolist() == [
            "1.2.840.113.77",
            "IM0001",
            "sub/x.IMA",
        ]
        assert (read(tmp_path, size=8) == 7).all()

    def test_a_compressed_tar_is_read_front_to_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each step back would read it from its start again."""
        for number in range(30):
            pixels = np.full((8, 8), number, np.uint8)
            saved(tmp_path / f"x/IM{(7 * number) % 30:02}", dicom(pixels))
        with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as file:
            file.add(tmp_path / "x", "x")
        rewinds = []
        plain = gzip._GzipReader._rewind
        monkeypatch.setattr(gzip._GzipReader, "_rewind", lambda own: rewinds.append(plain(own)))
        images = read(tmp_path / "x.tar.gz", size=8)
        assert [images[7 * number % 30, 0, 0] for number in range(30)] == list(range(30))
        assert len(rewinds) < 10

    def test_a_picture_by_its_name_says_what_it_is(self, tmp_path: Path) -> None:
        saved(tmp_path / "x.png", dicom(np.zeros((8, 8), np.uint8)))
        with pytest.raises(MeddiffError, match=r"x\.png .*name it \.dcm"):
            read(tmp_path)

    def test_pixels_without_their_decoder(self, tmp_path: Path) -> None:
        data = Path(get_testdata_file("MR_small_jpeg_ls_lossless.dcm")).read_bytes()
        data = data.replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.94")  # JPIP
        (tmp_path / "x.dcm").write_bytes(data)
        with pytest.raises(MeddiffError, match=r"x\.dcm .*JPIP.*pip install"):
            read(tmp_path)

    def test_unknown_kinds_of_pixels(self, tmp_path: Path) -> None:
        file = dicom(np.zeros((8, 8, 3), np.uint8), PhotometricInterpretation="HSV DOE")
        saved(tmp_path / "x.dcm", file)
        with pytest.raises(MeddiffError, match=r"x\.dcm") as error:
            read(tmp_path)
        assert "DOE" not in str(error.value)


class TestPatients:
    def test_the_group_is_a_keyed_digest(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        for number, patient in enumerate(["MRN-4711-X", "MRN-4711-X", "other", ""]):
            file = dicom(np.full((8, 8), number, np.uint8), PatientID=patient)
            saved(tmp_path / f"{number}.dcm", file)
        groups = list_images(tmp_path).rows["group"].tolist()
        assert groups[0] == groups[1] and len({*groups}) == 3 and all(groups)
        # HMAC-SHA-256 by OpenSSL: printf MRN-4711-X | openssl dgst -sha256 -hmac KEY
        assert groups[0] == "3dc1076efb35f5d6"
        monkeypatch.setenv(pseudonyms.VARIABLE, "another secret of the tests")
        assert not {*list_images(tmp_path).rows["group"]} & {*groups}
        text = list_images(tmp_path).rows.to_csv() + caplog.text
        assert not any(secret in text for secret in SECRETS)

    def test_the_key_is_made_once_and_is_private(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv(pseudonyms.VARIABLE)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        first = pseudonyms.pseudonym("x")
        [path] = (tmp_path / "meddiff").iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
        assert pseudonyms.pseudonym("x") == first != pseudonyms.pseudonym("y")
        path.write_text("short")
        with pytest.raises(MeddiffError, match=r"patient\.key"):
            pseudonyms.pseudonym("x")
        monkeypatch.setenv(pseudonyms.VARIABLE, "short")
        with pytest.raises(MeddiffError, match=pseudonyms.VARIABLE):
            pseudonyms.pseudonym("x")

    @pytest.mark.parametrize("cut", [0, 100, 200, 500, -5000, -1])
    def test_errors_of_damaged_files_quote_nothing(
        self, tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture, capfd: Any
    ) -> None:
        caplog.set_level(logging.DEBUG)
        file = dicom(RAMP)
        file.add_new(0x00101030, "DS", "70")
        buffer = io.BytesIO()
        file.save_as(buffer)
        data = buffer.getvalue().replace(
            b"\x10\x00\x30\x10DS\x02\x0070", b"\x10\x00\x30\x10DS\x02\x00?!"
        )
        (tmp_path / "x.dcm").write_bytes(data[:cut])
        with pytest.raises(MeddiffError, match=r"x\.dcm") as error:
            read(tmp_path)
        output = capfd.readouterr()
        texts = str(error.value) + caplog.text + output.out + output.err
        assert "\n" not in str(error.value) and not any(s in texts for s in SECRETS)
        assert error.value.__cause__ is None

    def test_a_pattern_on_the_path(self, tmp_path: Path) -> None:
        for name in ("sub-01/a.dcm", "sub-02/a.dcm", "x/a.dcm"):
            saved(tmp_path / name, dicom(np.zeros((8, 8), np.uint8)))
        groups = list_images(tmp_path, Reading(patient_pattern=r"(sub-\d+)/")).rows["group"]
        assert groups.tolist()[:2] == ["sub-01", "sub-02"] and len(groups[2]) == pseudonyms.LENGTH


def test_files_without_images(tmp_path: Path) -> None:
    report = dicom(np.zeros((8, 8), np.uint8))
    del report.PixelData
    saved(tmp_path / "pixels.dcm", report)
    with pytest.raises(MeddiffError, match=r"pixels\.dcm .*without pixels"):
        read(tmp_path)
    del report.Rows
    saved(tmp_path / "pixels.dcm", report)
    saved(tmp_path / "image.dcm", dicom(np.zeros((8, 8), np.uint8)))
    with pytest.raises(MeddiffError, match=r"\b1 files .*pixels\.dcm"):
        read(tmp_path)


def test_a_bomb_is_refused_before_its_memory_is_taken(tmp_path: Path) -> None:
    saved(tmp_path / "a.dcm", dicom(np.zeros((8, 8), np.uint8), Rows=60_000, Columns=60_000))
    with pytest.raises(MeddiffError, match=r"a\.dcm .*60000x60000"):
        read(tmp_path)


def test_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "x.dcm", dicom(np.zeros((8, 8), np.uint8)))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MeddiffError, match=r"x\.dcm .*pip install 'meddiff\[dicom\]'"):
        list_images(tmp_path)
