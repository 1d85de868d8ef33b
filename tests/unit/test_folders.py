"""Your own images without a table, with spreadsheets and with HAM10000's table."""

import json
import logging
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import openpyxl
import pandas as pd
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import zoom

from conftest import ROOT
from hospital import dicom, saved
from meddiff.cli import main
from meddiff.core.errors import MeddiffError
from meddiff.data.duplicates.search import search_index
from meddiff.data.index import build_index, read_index
from meddiff.data.listing import list_images
from meddiff.data.preprocessing.files import Preprocessing
from meddiff.data.preprocessing.packing import pack_images
from meddiff.data.readers import formats, pseudonyms
from meddiff.data.readers.frames import Entry, Frame
from meddiff.data.settings import FolderSettings
from meddiff.data.sources import tables
from meddiff.data.sources.folder import read_folder
from meddiff.data.sources.tables import read_strings
from meddiff.data.splitting.split import split_leak_free

HAM = ROOT.parent / "shared/real/ham10000/metadata.csv"
KAGGLE = ROOT.parent / "shared/real/kaggle/2018.zip"


def pictures(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * number).save(folder / name)
    return folder


def records(folder: Path, *classes: str, **settings: Any) -> pd.DataFrame:
    return read_folder(FolderSettings(images=str(folder), **settings), classes)


def spreadsheet(path: Path, rows: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


class TestWithoutATable:
    def test_classes_are_folders_anywhere_on_the_path(self, tmp_path: Path) -> None:
        pictures(tmp_path, "site1/Nevus/p1/a.png", "site2/mel/a.jpg", "site2/mel/a.png")
        table = records(tmp_path, "nevus", "mel", labels={"Nevus": "nevus"},
                        patient_pattern=r"/p(\d+)/")  # fmt: skip
        assert table["id"].tolist() == ["site1/Nevus/p1/a", "site2/mel/a.jpg", "site2/mel/a.png"]
        assert table["label"].tolist() == ["nevus", "mel", "mel"]
        assert table["patient"].fillna("-").tolist() == ["1", "-", "-"]

    def test_masks_lie_as_the_images_do(self, tmp_path: Path) -> None:
        pictures(tmp_path / "images", "a/1.jpg", "b/1.jpg")
        pictures(tmp_path / "masks", "a/1_mask.png", "b/1.png")
        table = records(tmp_path / "images", "a", "b", masks=str(tmp_path / "masks"))
        assert table["mask_member"].tolist() == ["a/1_mask.png", "b/1.png"]

    @pytest.mark.parametrize("name", ["x.png", "other/x.png", "a/b/x.png"])
    def test_an_image_of_no_class_or_two(self, tmp_path: Path, name: str) -> None:
        pictures(tmp_path, "a/1.png", name)
        with pytest.raises(MeddiffError, match=rf"1 of 2 .*{name}.*data\.folder\.labels"):
            records(tmp_path, "a", "b")

    def test_one_class_needs_no_folder(self, tmp_path: Path) -> None:
        pictures(tmp_path, "1.png", "x/2.png")
        assert records(tmp_path, "hand")["label"].tolist() == ["hand", "hand"]

    def test_labels_of_medmnist(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "m.npz", test_images=np.zeros((3, 4, 4), np.uint8),
                 test_labels=np.array([[0], [1], [0]]))  # fmt: skip
        table = records(tmp_path / "m.npz", "nv", "mel", labels={"0": "nv", "1": "mel"})
        assert table["label"].tolist() == ["nv", "mel", "nv"]
        assert table["id"].tolist() == [f"m#test/{n}" for n in range(3)]
        with pytest.raises(MeddiffError, match=r"m\.npz#test/0"):
            records(tmp_path / "m.npz", "nv", "mel")


class TestTables:
    def test_a_spreadsheet_reads_as_its_csv(self, tmp_path: Path) -> None:
        rows = [["id", "label", "who", "age"], ["007", "nv", 12, 40.5], [8, " mel ", None, 61.0],
                [None, None, None, None], ["NA", "mel", "x", None]]  # fmt: skip
        text = "\n".join(",".join("" if v is None else str(v) for v in row) for row in rows)
        (tmp_path / "t.csv").write_text(text.replace("61.0", "61"))
        csv = read_strings(tmp_path / "t.csv", "t.csv")
        xlsx = read_strings(spreadsheet(tmp_path / "t.xlsx", rows), "t.xlsx")
        pd.testing.assert_frame_equal(xlsx, csv)
        assert xlsx["id"].tolist() == ["007", "8", "NA"] and list(xlsx.index) == [2, 3, 5]

    @pytest.mark.parametrize("mark", [";", "\t"])
    def test_other_separators(self, tmp_path: Path, mark: str) -> None:
        (tmp_path / "t.csv").write_text(f'id{mark}label\na{mark}"nv, or not"\n')
        assert read_strings(tmp_path / "t.csv", "t").to_numpy().tolist() == [["a", "nv, or not"]]

    def test_the_workflow_reads_spreadsheets(self, tmp_path: Path) -> None:
        pictures(tmp_path / "i", "a.png", "b.png")
        table = spreadsheet(tmp_path / "t.xlsx", [["id", "label"], ["b", "x"], ["a", "y"]])
        rows = records(tmp_path / "i", "x", "y", table=str(table))
        assert rows["member"].tolist() == ["b.png", "a.png"]

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"PK\3\4 no spreadsheet", r"t\.xlsx"),
            (b"\xd0\xcf\x11\xe0 an old spreadsheet", r"t\.xlsx .*XLSX"),
        ],
    )
    def test_what_is_no_table(self, tmp_path: Path, data: bytes, message: str) -> None:
        (tmp_path / "t.xlsx").write_bytes(data)
        with pytest.raises(MeddiffError, match=message):
            read_strings(tmp_path / "t.xlsx", str(tmp_path / "t.xlsx"))

    def test_a_zip_that_is_no_spreadsheet(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("x", "y")
        with pytest.raises(MeddiffError, match=r"t\.xlsx"):
            read_strings(tmp_path / "t.xlsx", "t.xlsx")
        with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("x", bytes(3 * 2**20))
        monkeypatch.setattr(tables, "MAX_XLSX_BYTES", 2**21)
        with pytest.raises(MeddiffError, match=r"t\.xlsx .*2 MiB"):
            read_strings(tmp_path / "t.xlsx", "t.xlsx")

    def test_missing_extra(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = spreadsheet(tmp_path / "t.xlsx", [["id"], ["a"]])
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        with pytest.raises(MeddiffError, match=r"t\.xlsx .*pip install 'meddiff\[xlsx\]'"):
            read_strings(path, "t.xlsx")

    def test_evaluate_needs_no_class_and_takes_patients(self, tmp_path: Path) -> None:
        pictures(tmp_path, "i/a.png", "b.png")
        (tmp_path / "t.csv").write_text("file,patient_id,site\ni/a.png,p,1\nb.png,q,2\n")
        rows = list_images(tmp_path / "t.csv").rows
        assert rows["member"].tolist() == ["i/a.png", "b.png"] and rows["label"].isna().all()
        assert rows["group"].tolist() == ["p", "q"] and rows["site"].tolist() == ["1", "2"]
        (tmp_path / "t.csv").write_text("ID,label,Patient\na,x,p\nb,y,q\n")
        rows = list_images(tmp_path / "t.csv").rows
        assert rows["label"].tolist() == ["x", "y"] and rows["group"].tolist() == ["p", "q"]

    def test_a_table_that_names_no_images(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("name,age\nx,3\n")
        with pytest.raises(MeddiffError, match=r"t\.csv .*name, age"):
            list_images(tmp_path / "t.csv")

    def test_rows_of_files_with_several_images(self, tmp_path: Path) -> None:
        """A table of volumes and DICOM files: an id is a file, however many images it has."""
        for name in ("s1", "s2"):
            volume = nibabel.Nifti1Image(np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4))
            (tmp_path / "i").mkdir(exist_ok=True)
            volume.to_filename(tmp_path / f"i/{name}.nii.gz")
        saved(tmp_path / "i/1.2.3", dicom(np.zeros((4, 4), np.uint8)))
        (tmp_path / "t.csv").write_text("id,label,who\ns2,x,\n1.2.3,y,\ns1,y,p1\n")
        table = records(tmp_path / "i", "x", "y", table=str(tmp_path / "t.csv"), slices=2,
                        patient_column="who")  # fmt: skip
        assert table["id"].tolist() == ["s2#axial-0", "s2#axial-2", "1.2.3", "s1#axial-0",
                                        "s1#axial-2"]  # fmt: skip
        assert table["image"].is_unique and table["label"].tolist() == [*"xxyyy"]
        assert table["patient"][[0, 1]].tolist() == ["s2.nii.gz"] * 2
        assert table["patient"][[3, 4]].tolist() == ["p1"] * 2 and len(table["patient"][2]) == 16


class TestHam10000:
    def folder(self, tmp_path: Path, table: str = "HAM10000_metadata.csv") -> Path:
        """The data set's own layout, of three images."""
        folder = pictures(tmp_path / "ham", "HAM10000_images_part_1/ISIC_0027419.jpg",
                          "HAM10000_images_part_1/ISIC_0025030.jpg",
                          "HAM10000_images_part_2/ISIC_0026769.jpg")  # fmt: skip
        text = ("lesion_id,image_id,dx,dx_type,age,sex,localization\n"
                "HAM_0000118,ISIC_0027419,bkl,histo,80.0,male,scalp\n"
                "HAM_0000118,ISIC_0025030,bkl,histo,80.0,male,scalp\n"
                "HAM_0002730,ISIC_0026769,mel,histo,80.0,male,scalp\n")  # fmt: skip
        (folder / table).write_text(text.replace(",", "\t") if table.endswith("tab") else text)
        return folder

    @pytest.mark.parametrize(
        "table", ["HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab"]
    )
    def test_the_workflow(self, tmp_path: Path, table: str) -> None:
        rows = records(self.folder(tmp_path, table), "other", "mel", labels={"bkl": "other"})
        assert rows["label"].tolist() == ["other", "other", "mel"]
        assert rows["lesion"].tolist() == ["HAM_0000118", "HAM_0000118", "HAM_0002730"]
        assert rows["id"].tolist() == ["ISIC_0027419", "ISIC_0025030", "ISIC_0026769"]

    def test_evaluate(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        folder = self.folder(tmp_path)
        rows = list_images(folder).rows
        assert rows["label"].tolist() == ["bkl", "bkl", "mel"]
        assert rows["group"].tolist() == ["HAM_0000118", "HAM_0000118", "HAM_0002730"]
        assert rows["localization"].tolist() == ["scalp"] * 3 and rows["id"].is_unique
        assert "lesion_column lesion_id" in caplog.text
        pd.testing.assert_frame_equal(list_images(folder / "HAM10000_metadata.csv").rows, rows)

    @pytest.mark.skipif(not HAM.is_file() or not KAGGLE.is_file(), reason="no real images")
    def test_real_images(self, tmp_path: Path) -> None:
        """HAM10000's own table, of 10,015 images, beside 40 of Kaggle's edition."""
        metadata = pd.read_csv(HAM)
        folder = tmp_path / "ham/HAM10000_images_part_1"
        folder.mkdir(parents=True)
        with zipfile.ZipFile(KAGGLE) as file:
            here = {name[:-4].rpartition("/")[2]: name for name in file.namelist()}
            metadata.to_csv(tmp_path / "ham/HAM10000_metadata.csv", index=False)
            metadata = metadata[metadata["image_id"].isin(here)].head(40)
            for name in metadata["image_id"]:
                (folder / f"{name}.jpg").write_bytes(file.read(here[name]))
        listing = list_images(tmp_path / "ham")
        assert listing.rows["id"].tolist() == metadata["image_id"].tolist()
        assert listing.rows["label"].tolist() == metadata["dx"].tolist()
        assert listing.rows["group"].tolist() == metadata["lesion_id"].tolist()
        pixels = listing.pixels(crop=None, size=32)
        assert pixels.shape == (40, 32, 32, 3) and pixels.std() > 10


def test_a_column_that_is_misspelt_is_not_guessed(tmp_path: Path) -> None:
    pictures(tmp_path / "i", "a.png")
    (tmp_path / "t.csv").write_text("image_id,dx\na,mel\n")
    with pytest.raises(MeddiffError, match=r"t\.csv .*'lable'.*image_id, dx"):
        records(tmp_path / "i", "mel", table=str(tmp_path / "t.csv"), id_column="image_id",
                label_column="lable")  # fmt: skip


def test_a_new_format_is_a_row_of_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/architecture.md says: two functions, and everything reads the files."""

    class Raw:
        def entries(self, file: Any, name: str, reading: Any) -> list[Entry]:
            return [Entry(str(n), label="ab"[n % 2], group="") for n in range(file.read(1)[0])]

        def frames(self, file: Any, name: str, keys: list[str]) -> Iterator[tuple[str, Frame]]:
            images = np.frombuffer(file.read()[1:], np.uint8).reshape(-1, 4, 4)
            yield from ((key, Frame(images[int(key)], "raw")) for key in keys)

    monkeypatch.setattr(formats, "READERS", {**formats.READERS, ".raw": Raw()})
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8)
    (tmp_path / "x.raw").write_bytes(b"\5" + images.tobytes())
    for place in (tmp_path, tmp_path / "x.raw"):
        np.testing.assert_array_equal(list_images(place).pixels(crop=None, size=4)[..., 0], images)
    index = build_index(records(tmp_path, "a", "b"))
    assert index["label"].tolist() == [*"ababa"] and (index["patient"] == "x.raw").all()
    assert index["encoding"].tolist() == ["raw"] * 5 and index["id"][3] == "x#3"


@pytest.mark.parametrize("window", [None, (-100, 300), "percentiles"])
def test_index_and_packed_sets_of_hospital_files(tmp_path: Path, window: Any) -> None:
    """Every step that reads an image again sees the same pixels, by one window."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 1000, (6, 40, 40)).astype(np.int16)
    for number, image in enumerate(levels[:3]):
        file = dicom(image, RescaleSlope=1, RescaleIntercept=-200, PatientID=f"p{number // 2}")
        saved(tmp_path / f"i/a/{number}.dcm", file)
    for number, image in enumerate(levels[3:5]):
        (tmp_path / "i/b").mkdir(exist_ok=True)
        Image.fromarray(image.astype(np.uint16)).save(tmp_path / f"i/b/{number}.png")
    Image.fromarray(levels[5].astype(np.float32)).save(tmp_path / "i/b/f.tiff")
    choice = {"percentiles": (1, 99)} if window == "percentiles" else {"window": window}
    settings = FolderSettings(images=str(tmp_path / "i"), **choice)
    table = read_folder(settings, ["a", "b"])
    index = build_index(table, windows=settings.windows, workers=2)
    index.assign(group=range(6)).to_csv(tmp_path / "index.csv", index=False)
    pack_images(read_index(tmp_path / "index.csv"), Preprocessing(None, 40), tmp_path / "x.npy",
                tmp_path / "x.csv")  # fmt: skip
    packed = np.load(tmp_path / "x.npy")[..., 0]
    as_set = list_images(tmp_path / "i", settings).pixels(crop=None, size=40)[..., 0]
    np.testing.assert_array_equal(packed, as_set)
    hounsfield = np.concatenate([levels[:3] - 200.0, levels[3:]])
    if window == (-100, 300):
        expected = np.floor((hounsfield + 100) * 256 / 400).clip(0, 255)
        np.testing.assert_array_equal(packed, expected)
    if window == "percentiles":
        low, high = np.percentile(hounsfield, [1, 99], axis=(1, 2))[:, :, None, None]
        expected = np.floor((hounsfield - low) * 256 / (high - low)).clip(0, 255)
        np.testing.assert_allclose(packed, expected, atol=1)
    assert index["encoding"].tolist()[:4:3] == ["DICOM MONOCHROME2 Explicit VR Little Endian",
                                                "PNG I;16"]  # fmt: skip
    assert index["patient"].nunique() == 2 and "p0" not in (tmp_path / "index.csv").read_text()


class TestEvaluate:
    """`meddiff evaluate` of what people bring, from files to the printed scores."""

    def scores(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
        common = ["--extractor", "none", "--size", "32", "--json"]
        assert main(["evaluate", *map(str, arguments), *common]) == 0
        return json.loads(capsys.readouterr().out)

    @pytest.fixture
    def levels(self) -> np.ndarray:
        """Smooth images of 12 bits, (20,32,32)."""
        coarse = np.random.default_rng(0).random((20, 5, 5))
        return np.array([np.rint(4095 * zoom(one, 6.4, order=1)) for one in coarse]).astype(
            np.int16
        )

    def test_formats_of_the_same_images_have_the_same_scores(
        self, tmp_path: Path, levels: np.ndarray, capsys: pytest.CaptureFixture[str]
    ) -> None:
        window = ("--window", 0, 4095)
        for number, image in enumerate(levels):
            for folder in ("dcm", "nii", "png", "tif", "fake"):
                (tmp_path / folder).mkdir(exist_ok=True)
            name = f"{number:02}"
            file = dicom(image, WindowCenter=9, WindowWidth=3, PatientID=name)
            saved(tmp_path / f"dcm/{name}.dcm", file)
            volume = nibabel.Nifti1Image(image.T[..., None], np.diag([-1, -1, 1, 1]))
            volume.to_filename(tmp_path / f"nii/{name}.nii.gz")
            Image.fromarray(image.astype(np.uint16)).save(tmp_path / f"png/{name}.png")
            tifffile.imwrite(tmp_path / f"tif/{name}.tif", image.astype(np.float32))
            fake = Image.fromarray((image[::-1] // 16).astype(np.uint8))
            fake.save(tmp_path / f"fake/{name}.png")
        np.savez(tmp_path / "real.npz", levels)
        expected = self.scores(capsys, tmp_path / "png", tmp_path / "fake", *window)["scores"]
        assert expected[0]["value"] is not None
        for name in ("dcm", "nii", "tif", "real.npz"):
            result = self.scores(capsys, tmp_path / name, tmp_path / "fake", *window)
            assert result["scores"] == expected, name

    def test_a_table_and_slices(
        self, tmp_path: Path, levels: np.ndarray, capsys: pytest.CaptureFixture[str]
    ) -> None:
        volume = nibabel.Nifti1Image(levels.T, np.diag([-1, -1, 1, 1]))
        volume.to_filename(tmp_path / "v.nii.gz")
        spreadsheet(tmp_path / "t.xlsx", [["image_id", "dx"], ["v", "mel"]])
        np.savez(tmp_path / "fake.npz", levels[:9])
        result = self.scores(capsys, tmp_path / "t.xlsx", tmp_path / "fake.npz", "--slices", 2)
        assert result["sets"]["real"]["n_images"] == 10

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            (["--slices", "0"], "slices"),
            (["--slices", "all"], "slices"),
            (["--window", "5", "5"], "window"),
            (["--percentiles", "-1", "99"], "percentiles"),
            (["--window", "0", "1", "--percentiles", "1", "99"], "window .*percentiles"),
        ],
    )
    def test_wrong_choices(
        self, tmp_path: Path, option: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["evaluate", str(tmp_path), str(tmp_path), "--extractor", "none", *option]) == 1
        [line] = capsys.readouterr().err.strip().splitlines()
        assert re.search(f"^error: .*{message}", line)


def test_the_key_of_digests_moves_no_image_to_another_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for number in range(48):
        pixels = rng.integers(0, 255, (16, 16), np.uint8)
        file = dicom(pixels, PatientID=f"patient {number // 2}")
        saved(tmp_path / f"i/{'ab'[number % 4 // 2]}/{number:02}.dcm", file)
    splits = []
    for key in ("the first key of the tests", "the second key of the tests"):
        monkeypatch.setenv(pseudonyms.VARIABLE, key)
        index = build_index(records(tmp_path / "i", "a", "b"))
        index = index.join(search_index(index).images)
        index["split"] = split_leak_free(
            index, fractions={"train": 0.7, "validation": 0.15, "test": 0.15}, seed=3
        )
        assert index["group"].nunique() == 24
        assert (index.groupby("patient")["split"].nunique() == 1).all()
        splits.append(index)
    assert not {*splits[0]["patient"]} & {*splits[1]["patient"]}
    pd.testing.assert_frame_equal(*(each.drop(columns="patient") for each in splits))
