"""Raw layouts become one table; every fault of the metadata is named with its row and remedy."""

import io
import logging
import re
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from meddiff.core.errors import MeddiffError
from meddiff.data.settings import FolderSettings
from meddiff.data.sources.accounting import NOTES, take_usable
from meddiff.data.sources.challenge import read_challenge
from meddiff.data.sources.folder import read_folder
from meddiff.data.sources.isic2016 import OFFICIAL, read_isic2016
from meddiff.data.sources.kaggle import read_kaggle
from meddiff.data.sources.mednist import read_mednist_hand
from meddiff.data.sources.tables import COLUMNS, read_strings, require_classes

HEADER = ",isic_id,patient_id,target\n"


def zip_of(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return path


def folder_of(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def kaggle_files(rows: str, images: list[str]) -> dict[str, str]:
    return {"train-metadata.csv": HEADER + rows} | {
        f"train-image/image/{name}": name for name in images
    }


def kaggle(path: Path, rows: str, images: list[str]) -> Path:
    return zip_of(path, kaggle_files(rows, images))


def read_editions(archives: dict[str, Path]) -> pd.DataFrame:
    """Read without the challenge's tables, by Kaggle's own metadata."""
    return read_kaggle(archives, read_challenge({}), "melanoma")


def message(error: pytest.ExceptionInfo[MeddiffError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


class TestKaggle:
    def test_editions_are_joined(self, tmp_path: Path) -> None:
        first = kaggle(tmp_path / "a.zip", "0,A,P1,0\n1,B,,1\n", ["A.jpg", "B.jpg"])
        second = kaggle(tmp_path / "b.zip", "0,A,P1,0\n", ["A.jpg"])
        table = read_editions({"2018": first, "2019": second})
        assert table["id"].tolist() == ["2018/A", "2018/B", "2019/A"]
        assert table["label"].tolist() == ["benign", "malignant", "benign"]
        assert table["edition"].tolist() == ["2018", "2018", "2019"]
        assert table["archive"].tolist() == [str(first), str(first), str(second)]
        assert table["member"].tolist()[1] == "train-image/image/B.jpg"
        assert table["patient"].isna().tolist() == [False, True, False]
        assert table["lesion"].isna().all()

    def test_columns_are_strings_with_na(self, tmp_path: Path) -> None:
        table = read_editions({"2018": kaggle(tmp_path / "a.zip", "0,A,,0\n", ["A.jpg"])})
        assert list(table) == [*COLUMNS, *NOTES]
        assert all(dtype == pd.StringDtype(na_value=pd.NA) for dtype in table.dtypes)
        assert table.loc[0, "patient"] is pd.NA

    def test_a_folder_reads_as_its_zip(self, tmp_path: Path) -> None:
        files = kaggle_files("0,A,,0\n1,B,,1\n", ["A.jpg", "B.jpg"])
        zipped = read_editions({"2018": zip_of(tmp_path / "a.zip", files)})
        plain = read_editions({"2018": folder_of(tmp_path / "a", files)})
        pd.testing.assert_frame_equal(zipped.drop(columns="archive"), plain.drop(columns="archive"))

    def test_floats_that_pandas_wrote_are_targets(self, tmp_path: Path) -> None:
        path = kaggle(tmp_path / "a.zip", "0,A,,0.0\n1,B,,1.0\n", ["A.jpg", "B.jpg"])
        assert read_editions({"1": path})["label"].tolist() == ["benign", "malignant"]

    def test_repeated_ids(self, tmp_path: Path) -> None:
        path = kaggle(tmp_path / "a.zip", "0,A,,0\n1,B,,1\n2,A,,1\n", ["A.jpg", "B.jpg"])
        with pytest.raises(MeddiffError) as error:
            read_editions({"2018": path})
        assert "A (rows 2, 4)" in message(error) and "train-metadata.csv in" in message(error)

    def test_unknown_and_missing_targets(self, tmp_path: Path) -> None:
        path = kaggle(tmp_path / "a.zip", "0,A,,2\n1,B,,\n", ["A.jpg", "B.jpg"])
        with pytest.raises(MeddiffError) as error:
            read_editions({"2018": path})
        assert "2 labels" in message(error)
        assert "A (row 2: 2), B (row 3: missing)" in message(error)
        assert "0, 1" in message(error)

    def test_rows_without_an_image_show_five_and_the_total(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        rows = "".join(f"{n},I{n},,0\n" for n in range(8))
        table = read_editions({"2018": kaggle(tmp_path / "a.zip", rows, ["I0.jpg"])})
        [text] = [line for line in caplog.messages if "a.zip" in line]
        assert "7 rows" in text
        assert "I1 (row 3)" in text and "I5 (row 7) and 2 more" in text and "I6" not in text
        used, counts = take_usable(table)
        assert used["id"].tolist() == ["2018/I0"] and list(used) == list(COLUMNS)
        assert counts.loc[0, ["n_rows", "rows_without_image", "n_used"]].tolist() == [8, 7, 1]

    def test_images_without_a_row_are_counted_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        path = kaggle(tmp_path / "a.zip", "0,A,,0\n", ["A.jpg", "B.jpg", "C.jpg"])
        assert len(take_usable(read_editions({"2018": path}))[0]) == 1
        assert len([line for line in caplog.messages if "2 images of" in line]) == 1

    def test_no_metadata(self, tmp_path: Path) -> None:
        path = zip_of(tmp_path / "a.zip", {"train-image/image/A.jpg": ""})
        with pytest.raises(MeddiffError, match=r"a\.zip .*train-metadata\.csv"):
            read_editions({"2018": path})

    def test_no_target_column(self, tmp_path: Path) -> None:
        files = {"train-metadata.csv": "isic_id,label\nA,0\n", "train-image/image/A.jpg": ""}
        with pytest.raises(MeddiffError, match=r"train-metadata\.csv .*'target'.*isic_id, label"):
            read_editions({"2018": zip_of(tmp_path / "a.zip", files)})

    def test_a_row_without_an_id(self, tmp_path: Path) -> None:
        path = kaggle(tmp_path / "a.zip", "0,A,,0\n1,,,0\n", ["A.jpg"])
        with pytest.raises(MeddiffError, match=r"isic_id: row 3\b"):
            read_editions({"2018": path})


class TestIsic2016:
    @staticmethod
    def archives(tmp_path: Path, test_ids: str = "CD", masks: str = "AB") -> list[Path]:
        return [
            zip_of(tmp_path / "i.zip", {f"Train/{key}.jpg": "" for key in "BA"}),
            zip_of(tmp_path / "m.zip", {f"Truth/{key}_Segmentation.png": "" for key in masks}),
            zip_of(tmp_path / "ti.zip", {f"Test/{key}.jpg": "" for key in test_ids}),
            zip_of(tmp_path / "tm.zip", {f"T/{key}_Segmentation.png": "" for key in test_ids}),
        ]

    def test_each_image_has_its_mask_and_split(self, tmp_path: Path) -> None:
        table = read_isic2016(*self.archives(tmp_path))
        assert table["id"].tolist() == ["2016/A", "2016/B", "2016/C", "2016/D"]
        assert table["split"].tolist() == ["train", "train", "test", "test"]
        assert set(table["label"]) == {"lesion"}
        assert table.loc[1, ["member", "mask_member"]].tolist() == [
            "Train/B.jpg",
            "Truth/B_Segmentation.png",
        ]
        assert table.loc[2, "mask_archive"] == str(tmp_path / "tm.zip")

    def test_no_mask_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=r"m\.zip .*A_segmentation\.png"):
            read_isic2016(*self.archives(tmp_path, masks=""))

    def test_a_missing_mask(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=r"m\.zip .*1 of 2 .*B_Segmentation\.png"):
            read_isic2016(*self.archives(tmp_path, masks="A"))

    def test_an_image_of_both_splits(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=r"i\.zip .*ti\.zip: 2016/B"):
            read_isic2016(*self.archives(tmp_path, test_ids="BC"))

    def test_task_1_of_2018_is_divided_by_the_official_lists(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Of these, 0000002 and 0000003 are of training and of test, 0024306 is of neither."""
        caplog.set_level(logging.INFO)
        keys = ["ISIC_0024306", "ISIC_0000003", "ISIC_0000002"]
        images = zip_of(tmp_path / "i.zip", {f"x/{key}.jpg": "" for key in keys})
        masks = zip_of(tmp_path / "m.zip", {f"{key}_segmentation.png": "" for key in keys})
        table = read_isic2016(images, masks, images, masks).set_index("image")
        assert table["split"].to_dict() == {"ISIC_0000002": "train", "ISIC_0000003": "test"}
        assert table.loc["ISIC_0000003", "mask_member"] == "ISIC_0000003_segmentation.png"
        assert re.search(r"\b1 images .*\b2016\b", caplog.text)

    def test_one_archive_for_both_splits_and_none_of_their_images(self, tmp_path: Path) -> None:
        images, masks, *_ = self.archives(tmp_path)
        with pytest.raises(MeddiffError, match=r"i\.zip .*train"):
            read_isic2016(images, masks, images, masks)

    def test_the_official_lists(self) -> None:
        """As many as the challenge states."""
        lists = pd.read_csv(OFFICIAL)
        assert lists["image"].is_unique and lists["image"].str.fullmatch(r"ISIC_00\d{5}").all()
        assert lists["split"].value_counts().to_dict() == {"train": 900, "test": 379}

    def test_swapped_archives(self, tmp_path: Path) -> None:
        images, masks, *test = self.archives(tmp_path)
        with pytest.raises(MeddiffError, match=r"m\.zip .*<isic_id>\.jpg"):
            read_isic2016(masks, images, *test)


class TestMednist:
    @staticmethod
    def archive(path: Path, names: list[str]) -> Path:
        with tarfile.open(path, "w:gz") as file:
            for name in names:
                file.addfile(tarfile.TarInfo(name), io.BytesIO())
        return path

    def test_only_hands_sorted(self, tmp_path: Path) -> None:
        names = ["MedNIST/Hand/2.jpeg", "MedNIST/HeadCT/0.jpeg", "./MedNIST/Hand/1.jpeg"]
        table = read_mednist_hand(self.archive(tmp_path / "m.tar.gz", names))
        counts = take_usable(table)[1].drop(columns="edition").iloc[0].dropna()
        assert counts[counts != 0].to_dict() == {"n_images": 2, "n_used": 2}
        assert table["member"].tolist() == ["MedNIST/Hand/1.jpeg", "MedNIST/Hand/2.jpeg"]
        assert table["id"].tolist() == ["mednist/1", "mednist/2"]
        assert set(table["label"]) == {"hand"}

    def test_no_hands(self, tmp_path: Path) -> None:
        path = self.archive(tmp_path / "m.tar.gz", ["MedNIST/HeadCT/0.jpeg"])
        with pytest.raises(MeddiffError, match=r"m\.tar\.gz .*MedNIST/Hand"):
            read_mednist_hand(path)


class TestFolder:
    @staticmethod
    def read(
        tmp_path: Path,
        csv: str,
        images: list[str],
        classes: tuple[str, ...] = ("nv", "mel", "bcc"),
        **options: object,
    ) -> pd.DataFrame:
        folder_of(tmp_path / "images", dict.fromkeys(images, ""))
        (tmp_path / "table.csv").write_text(csv, encoding="utf-8")
        settings = {"images": "images", "table": "table.csv", "label_column": "dx"}
        return read_folder(FolderSettings.model_validate(settings | options), classes, tmp_path)

    def test_images_are_found_by_id_at_any_depth(self, tmp_path: Path) -> None:
        images = ["a.JPG", "deep/er/b.tiff", "deep/001.png"]
        table = self.read(tmp_path, "id,dx\n001,nv\nb,mel\na,bcc\n", images)
        assert table["member"].tolist() == ["deep/001.png", "deep/er/b.tiff", "a.JPG"]
        assert table["label"].tolist() == ["nv", "mel", "bcc"]
        assert table["id"].tolist() == ["001", "b", "a"]

    def test_labels_may_have_other_names_than_classes(self, tmp_path: Path) -> None:
        csv = "id,dx\na,basal cell carcinoma\nb,mel\n"
        labels = {"basal cell carcinoma": "bcc"}
        table = self.read(tmp_path, csv, ["a.png", "b.png"], labels=labels)
        assert table["label"].tolist() == ["bcc", "mel"]

    def test_patients_lesions_and_the_name_of_the_set(self, tmp_path: Path) -> None:
        table = self.read(
            tmp_path,
            "id,dx,who,what\na,nv,007,\nb,mel,,L1\n",
            ["a.png", "b.png"],
            patient_column="who",
            lesion_column="what",
            name="ours",
        )
        assert table["patient"].tolist() == ["007", pd.NA]
        assert table["lesion"].tolist() == [pd.NA, "L1"]
        assert set(table["edition"]) == {"ours"}

    def test_a_path_that_leads_nowhere_is_named_by_its_key(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=r"^data\.folder\.masks: .*/absent"):
            self.read(tmp_path, "id,dx\na,nv\n", ["a.png"], masks="absent")

    def test_file_column(self, tmp_path: Path) -> None:
        csv = "id,dx,file\n1,nv,x/a.png\n2,mel,./y/a.png\n3,nv,x\\b.png\n"
        images = ["x/a.png", "y/a.png", "x/b.png"]
        table = self.read(tmp_path, csv, images, file_column="file")
        assert table["member"].tolist() == ["x/a.png", "y/a.png", "x/b.png"]

    @pytest.mark.parametrize("path", ["../table.csv", "/etc/passwd", "x/absent.png", ""])
    def test_file_column_stays_in_the_folder(self, tmp_path: Path, path: str) -> None:
        with pytest.raises(MeddiffError, match=r"table\.csv .*1 rows .*\(row 2\)"):
            self.read(tmp_path, f"id,dx,file\n1,nv,{path}\n", ["a.png"], file_column="file")

    @pytest.mark.parametrize(
        ("ids", "files", "remedy"),
        [
            (["a.png", "b.png"], ["a.png", "b.png"], "data.folder.file_column: id"),
            (["1.00E+05", "2.5E+11"], ["100000.png", "250000000000.png"], "spreadsheets"),
            (["caf\u00e9"], ["cafe\u0301.png"], "suffix"),
            (["a.png", "b.png"], ["x/a.png", "x/b.png"], "'id'"),
            (["7", "12"], ["0007.jpg", "0012.jpg"], "'id'"),
            (["7.0", "12.0"], ["x/7.jpg", "x/12.jpg"], "'id'"),
            (["0", "1"], ["000.jpg", "001.jpg"], "'id'"),
            (["IM7", "im8"], ["im7.jpg", "IM8.jpg"], "'id'"),
            (["7.JPG", "8.jpg"], ["07.jpg", "08.jpg"], "'id'"),
        ],
    )
    def test_ids_that_are_nearly_a_file_are_suggested(
        self, tmp_path: Path, ids: list[str], files: list[str], remedy: str
    ) -> None:
        csv = "id,dx\n" + "".join(f"{key},nv\n" for key in ids)
        with pytest.raises(MeddiffError) as error:
            self.read(tmp_path, csv, files)
        text = message(error)
        for line, (key, file) in enumerate(zip(ids, files, strict=True), start=2):
            assert f"{key} (row {line})" in text and file in text
        assert remedy in text and "data.folder.file_column" in text and "remove" not in text

    def test_missing_images_stop_the_run_unless_the_user_says_so(self, tmp_path: Path) -> None:
        csv, files = "id,dx\na,nv\nb,mel\nc,mel\n", ["a.png", "c.png", "x/d.png"]
        with pytest.raises(MeddiffError, match=r"table\.csv .*1 rows .*b \(row 3\)"):
            self.read(tmp_path, csv, files)
        used, counts = take_usable(self.read(tmp_path, csv, files, skip_missing=True))
        assert used["id"].tolist() == ["a", "c"]
        row = counts.iloc[0]
        assert row[["n_rows", "rows_without_image", "n_images"]].tolist() == [3, 1, 3]
        assert row[["images_without_row", "images_without_label", "n_used"]].tolist() == [1, 1, 2]
        with pytest.raises(MeddiffError, match=r"table\.csv .*2 rows .*y \(row 2\)"):
            self.read(tmp_path, "id,dx\ny,nv\nz,mel\n", files, skip_missing=True)

    def test_the_column_that_is_suggested_mends_it(self, tmp_path: Path) -> None:
        csv, files = "id,dx\na.png,nv\nb.png,mel\n", ["a.png", "b.png"]
        table = self.read(tmp_path, csv, files, file_column="id")
        assert table["member"].tolist() == files

    @pytest.mark.parametrize("path", ["a.png", "X/A.PNG", "x/a.jpg", "y/a.png"])
    def test_paths_that_are_nearly_a_file_are_suggested(self, tmp_path: Path, path: str) -> None:
        with pytest.raises(MeddiffError) as error:
            self.read(tmp_path, f"id,dx,file\n1,nv,{path}\n", ["x/a.png"], file_column="file")
        assert f"{path} (row 2)" in message(error) and "x/a.png" in message(error)
        assert "'file'" in message(error)

    def test_no_match_is_suggested_where_several_would_do(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=r"7 \(row 2\)") as error:
            self.read(tmp_path, "id,dx\n7,nv\n", ["07.jpg", "007.jpg"])
        assert "07.jpg" not in message(error)

    @pytest.mark.parametrize("header", ["id , dx", "\ufeffid,dx", " \ufeff id,dx\t", '"id ",dx'])
    def test_header_cells_are_stripped_like_values(self, tmp_path: Path, header: str) -> None:
        table = self.read(tmp_path, f"{header}\na , nv\n", ["a.png"])
        assert table["id"].tolist() == ["a"] and table["label"].tolist() == ["nv"]

    def test_columns_that_are_one_when_stripped(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=r"table\.csv .*'dx'"):
            self.read(tmp_path, "id,dx,dx \na,nv,mel\n", ["a.png"])

    @pytest.mark.parametrize("name", ["{}.jpg", "{}_Mask.tif", "x/{}_segmentation.JPEG"])
    def test_masks_of_another_format_are_named(self, tmp_path: Path, name: str) -> None:
        masks = folder_of(tmp_path / "masks", {name.format(key): "" for key in "ab"})
        csv = "id,dx\na,nv\nb,nv\nc,mel\n"
        with pytest.raises(MeddiffError, match=r"/masks .*\b2 of 3 .*PNG"):
            self.read(tmp_path, csv, [f"{key}.jpg" for key in "abc"], masks=str(masks))

    @pytest.mark.parametrize("where", ["masks", "images/masks"])
    def test_masks_beside_or_inside_the_folder(self, tmp_path: Path, where: str) -> None:
        masks = folder_of(
            tmp_path / where, dict.fromkeys(["a.png", "b_Segmentation.png", "c_mask.PNG"], "")
        )
        csv = "id,dx\na,nv\nb,nv\nc,mel\nd,mel\n"
        table = self.read(tmp_path, csv, [f"{key}.jpg" for key in "abcd"], masks=str(masks))
        expected = ["a.png", "b_Segmentation.png", "c_mask.PNG", pd.NA]
        assert table["mask_member"].tolist() == expected
        assert table["mask_archive"].isna().tolist() == [False, False, False, True]
        assert table["member"].tolist() == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]

    @pytest.mark.parametrize("ending", ["", "_segmentation", "_Segmentation", "_MASK", "_Mask"])
    def test_masks_endings_match_in_any_case(self, tmp_path: Path, ending: str) -> None:
        """HAM10000's end in `_segmentation.png`; the ids themselves keep their case."""
        masks = folder_of(
            tmp_path / "masks", {f"ISIC_1{ending}.png": "", f"isic_2{ending}.png": ""}
        )
        files = ["ISIC_1.jpg", "ISIC_2.jpg"]
        table = self.read(tmp_path, "id,dx\nISIC_1,nv\nISIC_2,mel\n", files, masks=str(masks))
        assert table["mask_member"].tolist() == [f"ISIC_1{ending}.png", pd.NA]

    @pytest.mark.parametrize("inside", [False, True])
    def test_masks_asked_for_and_none_found(self, tmp_path: Path, inside: bool) -> None:
        """An error before any training, which says what was looked for and what is there."""
        names = ["a.jpg", "b.jpg"]
        masks = folder_of(tmp_path / "masks", {"lesion_of_a.png": "", "notes.txt": ""})
        if inside:
            masks, names = tmp_path / "images", [*names, "lesion_of_a.png"]
        with pytest.raises(MeddiffError) as error:
            self.read(tmp_path, "id,dx\na,nv\nb,mel\n", names, masks=str(masks))
        text = message(error)
        assert all(part in text for part in (f"/{masks.name} ", "2 images", "a_mask.png"))
        assert ("lesion_of_a.png" in text) != inside

    def test_masks_in_folders_like_the_images(self, tmp_path: Path) -> None:
        """Two patients' images of one name; only one of them has a mask."""
        masks = folder_of(tmp_path / "masks", {"p1/001.png": ""})
        csv = "id,dx,file\np1/001,nv,p1/001.jpg\np2/001,mel,p2/001.jpg\n"
        files = ["p1/001.jpg", "p2/001.jpg"]
        table = self.read(tmp_path, csv, files, masks=str(masks), file_column="file")
        assert table["mask_member"].tolist() == ["p1/001.png", pd.NA]

    def test_one_mask_for_two_images(self, tmp_path: Path) -> None:
        masks = folder_of(tmp_path / "masks", {"001.png": ""})
        csv = "id,dx,file\np1/001,nv,p1/001.jpg\np2/001,mel,p2/001.jpg\n"
        files = ["p1/001.jpg", "p2/001.jpg"]
        with pytest.raises(MeddiffError, match=r"masks: 1 .*: 001\.png;"):
            self.read(tmp_path, csv, files, masks=str(masks), file_column="file")

    def test_masks_among_the_images(self, tmp_path: Path) -> None:
        files = ["a.jpg", "a_mask.png", "b.jpg", "b_Segmentation.png"]
        table = self.read(tmp_path, "id,dx\na,nv\nb,mel\n", files, masks="images")
        assert table["member"].tolist() == ["a.jpg", "b.jpg"]
        assert table["mask_member"].tolist() == ["a_mask.png", "b_Segmentation.png"]

    def test_two_masks_of_an_image(self, tmp_path: Path) -> None:
        masks = folder_of(tmp_path / "masks", {"a.png": "", "a_mask.png": ""})
        with pytest.raises(MeddiffError, match=r"masks .*: a \(a\.png, a_mask\.png\)"):
            self.read(tmp_path, "id,dx\na,nv\n", ["a.jpg"], masks=str(masks))

    def test_two_files_of_an_id(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=r"a \(a\.png, x/a\.jpg\)"):
            self.read(tmp_path, "id,dx\na,nv\n", ["a.png", "x/a.jpg"])

    def test_unknown_label(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError) as error:
            self.read(tmp_path, "id,dx\na,NV\nb,nv\n", ["a.png", "b.png"])
        assert "a (row 2: NV)" in message(error) and "nv, mel, bcc" in message(error)
        assert "table.csv" in message(error)

    def test_labels_that_look_missing_are_labels(self, tmp_path: Path) -> None:
        csv = "id,dx\nNA,None\nnull,nan\n"
        table = self.read(tmp_path, csv, ["NA.png", "null.png"], classes=("None", "nan"))
        assert table["id"].tolist() == ["NA", "null"]
        assert table["label"].tolist() == ["None", "nan"]

    @pytest.mark.parametrize(
        "options",
        [
            {"id_column": "key"},
            {"label_column": "key"},
            {"patient_column": "key"},
            {"lesion_column": "key"},
            {"file_column": "key"},
        ],
    )
    def test_missing_columns(self, tmp_path: Path, options: dict[str, str]) -> None:
        with pytest.raises(MeddiffError, match=r"table\.csv .*'key'.* id, dx:"):
            self.read(tmp_path, "id,dx\na,nv\n", ["a.png"], **options)

    def test_no_table(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=r"data\.folder\.table: .*absent\.csv"):
            self.read(tmp_path, "id,dx\na,nv\n", ["a.png"], table="absent.csv")

    def test_a_table_without_rows(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=r"table\.csv .*no rows"):
            self.read(tmp_path, "id,dx\n", ["a.png"])


def test_a_class_without_an_image_is_refused() -> None:
    records = pd.DataFrame({"label": ["0", "NA"]}, dtype="string")
    require_classes(records, ["0", "NA"])
    with pytest.raises(MeddiffError, match=r"data\.classes: .*\b1, None;.* data\.folder\.labels"):
        require_classes(records, ["0", "1", "None"])


class TestCsv:
    def test_line_numbers_survive_blank_lines_and_a_byte_order_mark(self, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_bytes(b"\xef\xbb\xbfid,dx\r\n a ,nv\r\n\r\n,\r\nb,\r\n")
        table = read_strings(path, "table.csv")
        assert list(table) == ["id", "dx"]
        assert table.index.tolist() == [2, 5]
        assert table["id"].tolist() == ["a", "b"]
        assert table["dx"].tolist() == ["nv", pd.NA]

    @pytest.mark.parametrize(
        "content", [b"", b"id,dx\na,nv,extra,more\n", b"\xff\xfe\x00i", b'id,dx\n"a,nv\n']
    )
    def test_what_is_no_table_is_named(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "table.csv"
        path.write_bytes(content)
        with pytest.raises(MeddiffError, match=r"my\.csv") as error:
            read_strings(path, "my.csv")
        assert "\n" not in str(error.value)
