"""The ISIC challenge's tables: diagnoses, patients, lesions, duplicates, and label policies."""

import io
import logging
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from meddiff.core.errors import MeddiffError
from meddiff.data.labels import DIAGNOSES, POLICIES, label_images
from meddiff.data.phantom.archives import write_kaggle_edition
from meddiff.data.phantom.challenge import diagnoses, write_challenge_tables
from meddiff.data.phantom.plan import plan_editions
from meddiff.data.registry import by_version, registered_files
from meddiff.data.sources.accounting import take_usable
from meddiff.data.sources.challenge import (
    read_challenge,
    read_challenge_images,
    read_official_duplicates,
)
from meddiff.data.sources.kaggle import read_kaggle
from meddiff.data.sources.published import read_editions

TRUTH_2018 = """image,MEL,NV,BCC,AKIEC,BKL,DF,VASC
A,1.0,0.0,0.0,0.0,0.0,0.0,0.0
B,0.0,0.0,0.0,1.0,0.0,0.0,0.0
"""
LESIONS_2018 = "image,lesion_id,diagnosis_confirm_type\nB,HAM_2,histopathology\nA,HAM_1,follow_up\n"
TRUTH_2019 = """image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK
A_downsampled,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0
C,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0
"""
META_2019 = """image,age_approx,anatom_site_general,lesion_id,sex
A_downsampled,50.0,torso,HAM_1,male
C,,,,
"""
HEADER_2020 = (
    "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
    "benign_malignant,target"
)
TRUTH_2020 = f"""{HEADER_2020}
D,IP_1,IL_1,male,45,head/neck,unknown,benign,0
E,IP_1,IL_2,male,45,torso,melanoma,malignant,1
F,IP_2,IL_3,male,45,torso,lentigo NOS,benign,0
"""


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, dict[str, Path]]:
    """The challenge's tables as published, two or three images an edition."""
    with zipfile.ZipFile(tmp_path / "truth2018.zip", "w") as archive:
        archive.writestr("GroundTruth/GroundTruth.csv", TRUTH_2018)
        archive.writestr("GroundTruth/LICENSE.txt", "")
    texts = {
        "lesions2018.csv": LESIONS_2018,
        "truth2019.csv": TRUTH_2019,
        "meta2019.csv": META_2019,
        "truth2020.csv": TRUTH_2020,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {
        "2018": {"diagnoses": tmp_path / "truth2018.zip", "lesions": tmp_path / "lesions2018.csv"},
        "2019": {"diagnoses": tmp_path / "truth2019.csv", "lesions": tmp_path / "meta2019.csv"},
        "2020": {"diagnoses": tmp_path / "truth2020.csv"},
    }


def kaggle(path: Path, rows: str, names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train-metadata.csv", ",isic_id,patient_id,target\n" + rows)
        for name in names.split():
            archive.writestr(f"train-image/image/{name}.jpg", "")
    return path


class TestTables:
    def test_each_edition_tells_what_it_knows(self, tables) -> None:
        table = read_challenge(tables).set_index(["edition", "name"])
        assert table["diagnosis"].tolist() == ["MEL", "AK", "MEL", "SCC", "UNK", "MEL", "BKL"]
        assert table["target"].tolist() == ["1", "0", "1", "0", "0", "1", "0"]
        assert table["lesion"].fillna("-").tolist() == (
            ["HAM_1", "HAM_2", "HAM_1", "-", "IL_1", "IL_2", "IL_3"]
        )
        assert table["patient"].fillna("-").tolist() == ["-"] * 4 + ["IP_1", "IP_1", "IP_2"]
        assert table.loc[("2019", "A_downsampled"), "image"] == "A"
        assert set(table["diagnosis"]) <= set(DIAGNOSES)

    def test_two_diagnoses_or_none_are_refused(self, tables, tmp_path: Path) -> None:
        text = TRUTH_2019.replace("C,0.0", "C,1.0") + "G" + ",0.0" * 9 + "\n"
        (tmp_path / "truth2019.csv").write_text(text)
        with pytest.raises(MeddiffError, match=r": C \(row 3\), G"):
            read_challenge(tables)

    def test_an_unknown_name_of_2020_is_refused(self, tables, tmp_path: Path) -> None:
        (tmp_path / "truth2020.csv").write_text(TRUTH_2020.replace("lentigo NOS", "wart"))
        with pytest.raises(MeddiffError, match=r"F \(row 4: wart\)"):
            read_challenge(tables)

    def test_an_archive_with_two_tables_is_refused(self, tables, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "truth2018.zip", "a") as archive:
            archive.writestr("other.csv", "")
        with pytest.raises(MeddiffError, match=r"\.zip .*2 tables"):
            read_challenge(tables)

    def test_official_duplicates(self, tmp_path: Path) -> None:
        path = tmp_path / "pairs.csv"
        path.write_text("image_name_1,image_name_2\nD,F\nA_downsampled,E\n")
        assert read_official_duplicates(path).to_numpy().tolist() == [["D", "F"], ["A", "E"]]
        path.write_text("a,b\nD,F\n")
        with pytest.raises(MeddiffError, match="'image_name_1'"):
            read_official_duplicates(path)


class TestKaggle:
    def test_images_gain_diagnosis_lesion_and_patient(self, tables, tmp_path: Path) -> None:
        archives = {
            "2018": kaggle(tmp_path / "a.zip", "0,A,,1\n1,B,,0\n", "A B"),
            "2020": kaggle(tmp_path / "b.zip", "0,D,IP_1,0\n1,X,IP_9,0\n", "D X"),
        }
        table = read_kaggle(archives, read_challenge(tables), "melanoma").set_index("id")
        assert table["diagnosis"].fillna("-").tolist() == ["MEL", "AK", "UNK", "-"]
        assert table["lesion"].fillna("-").tolist() == ["HAM_1", "HAM_2", "IL_1", "-"]
        assert table.loc["2020/X", "patient"] == "IP_9"
        assert table["label"].tolist() == ["malignant", "benign", "benign", "benign"]
        first = {"2018": archives["2018"]}
        table = read_kaggle(first, read_challenge(tables), "malignant")
        assert table["label"].tolist() == ["malignant", "malignant"]

    def test_what_a_policy_cannot_decide_is_left_out_by_name(
        self, tables, tmp_path, caplog
    ) -> None:
        path = kaggle(tmp_path / "b.zip", "0,D,IP_1,0\n1,X,IP_9,0\n2,Y,,1\n", "D X Y")
        table = read_kaggle({"2020": path}, read_challenge(tables), "malignant")
        used, counts = take_usable(table)
        assert used["id"].tolist() == ["2020/D", "2020/Y"]
        assert counts.loc[0, "images_without_label"] == 1
        assert counts.loc[0, "images_without_diagnosis"] == 2
        assert any(line.endswith(": 2020/X") and "malignant" in line for line in caplog.messages)

    def test_an_image_without_a_row_has_the_diagnosis_of_the_tables(self, tables, tmp_path) -> None:
        path = kaggle(tmp_path / "a.zip", "0,A,,1\n", "A B Z")
        table = read_kaggle({"2018": path}, read_challenge(tables), "melanoma")
        used, counts = take_usable(table)
        assert used.set_index("id")["label"].to_dict() == {
            "2018/A": "malignant",
            "2018/B": "benign",
        }
        row = counts.iloc[0]
        assert row[["n_rows", "n_images", "images_without_row"]].tolist() == [1, 3, 2]
        assert row[["images_without_label", "n_used"]].tolist() == [1, 2]

    def test_made_up_patients_and_lesions_are_no_patients(self, tables, tmp_path) -> None:
        rows = "0,A,HAM_1,1\n1,B,dummy_7,0\n2,C,IP_3,0\n"
        path = kaggle(tmp_path / "a.zip", rows, "A B C")
        used, counts = take_usable(read_kaggle({"2018": path}, read_challenge(tables), "melanoma"))
        assert used["patient"].fillna("-").tolist() == ["-", "-", "IP_3"]
        assert used["lesion"].fillna("-").tolist() == ["HAM_1", "HAM_2", "-"]
        assert counts.loc[0, ["invented_patients", "lesions_as_patients"]].tolist() == [1, 1]

    def test_ham10000_stands_for_the_tables_of_2018(self, tables, tmp_path: Path) -> None:
        path = tmp_path / "GroundTruth.zip"
        path.write_text("lesion_id,image_id,dx,dx_type\nHAM_1,A,mel,histo\nHAM_2,B,akiec,histo\n")
        published = read_challenge({"2018": tables["2018"]})
        ours = read_challenge({"2018": {"diagnoses": path, "lesions": path}})
        pd.testing.assert_frame_equal(ours, published)

    def test_a_target_against_the_diagnosis_is_counted(self, tables, tmp_path, caplog) -> None:
        path = kaggle(tmp_path / "a.zip", "0,A,,0\n1,B,,0\n", "A B")
        table = read_kaggle({"2018": path}, read_challenge(tables), "melanoma")
        assert len(caplog.messages) == 1 and "1 images" in caplog.text
        assert table["label"].tolist() == ["malignant", "benign"]

    def test_counts_of_every_policy_are_told(self, tables, tmp_path, caplog) -> None:
        caplog.set_level(logging.INFO)
        path = kaggle(tmp_path / "a.zip", "0,A,,1\n1,B,,0\n", "A B")
        read_kaggle({"2018": path}, read_challenge(tables), "melanoma")
        assert re.search(r"melanoma \(MEL\), used.* 1 malignant, 1 benign", caplog.text)
        assert re.search(r"malignant \(MEL, BCC, SCC, AK\).* 2 malignant", caplog.text)


class TestImages:
    def test_full_resolution_archives(self, tables, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "i.zip", "w") as archive:
            for name in ("C.jpg", "A_downsampled.jpg", "Z.jpg", "LICENSE.txt"):
                archive.writestr(f"ISIC_2019_Training_Input/{name}", "")
        read = read_challenge_images
        table = read({"2019": tmp_path / "i.zip"}, read_challenge(tables), "malignant")
        table, counts = take_usable(table)
        assert counts.loc[0, "images_without_row"] == 1
        assert table["id"].tolist() == ["2019/A_downsampled", "2019/C"]
        assert table["image"].tolist() == ["A", "C"]
        assert table["member"].tolist()[0] == "ISIC_2019_Training_Input/A_downsampled.jpg"
        assert table["label"].tolist() == ["malignant", "malignant"]
        table = read({"2019": tmp_path / "i.zip"}, read_challenge(tables), "melanoma")
        assert take_usable(table)[0]["label"].tolist() == ["malignant", "benign"]

    def test_a_missing_image_is_named_and_left_out(self, tables, tmp_path, caplog) -> None:
        with zipfile.ZipFile(tmp_path / "i.zip", "w") as archive:
            archive.writestr("x/C.jpg", "")
        read = read_challenge_images
        table = read({"2019": tmp_path / "i.zip"}, read_challenge(tables), "melanoma")
        assert take_usable(table)[0]["id"].tolist() == ["2019/C"]
        assert any(": A_downsampled" in line for line in caplog.messages)

    def test_an_archive_of_other_images_is_refused(self, tables, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "i.zip", "w") as archive:
            archive.writestr("x/Z.jpg", "")
        with pytest.raises(MeddiffError, match=r"2019 .*i\.zip: A_downsampled"):
            read_challenge_images({"2019": tmp_path / "i.zip"}, read_challenge(tables), "melanoma")


def test_policies_differ_in_the_carcinomas_alone() -> None:
    images = pd.DataFrame({"diagnosis": list(DIAGNOSES)}, dtype="string")
    images["target"] = images["diagnosis"].eq("MEL").map({True: "1", False: "0"}).astype("string")
    labels = {name: label_images(images, name) for name in POLICIES}
    differ = images["diagnosis"][labels["melanoma"] != labels["malignant"]]
    assert set(differ) == {"BCC", "SCC", "AK"}
    assert set(labels["melanoma"]) == {"benign", "malignant"}


class TestPhantom:
    """What is drawn reads as what is published, and tells the truth of the plan."""

    @pytest.fixture(scope="class")
    @classmethod
    def drawn(cls, tmp_path_factory) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
        counts = {edition: {"benign": 12, "malignant": 8} for edition in ("2018", "2019", "2020")}
        plan = plan_editions(3, counts, 0.1, 0.2)
        folder = tmp_path_factory.mktemp("raw")
        files = {e: registered_files("kaggle", e) | registered_files("isic", e) for e in counts}
        paths = {
            edition: {
                role: f"{folder}/{file}"
                for role, file in roles.items()
                if role != "images" or file.startswith("kaggle")
            }
            for edition, roles in files.items()
        }
        for edition, roles in paths.items():
            roles["images"] = f"{folder}/kaggle/{edition}.zip"
            rows = plan[plan["edition"] == edition]
            write_kaggle_edition(roles["images"], rows, size=16)
            write_challenge_tables(edition, roles, rows)
        return plan, paths

    def test_readers_give_back_the_plan(self, drawn) -> None:
        plan, paths = drawn
        table, _ = read_editions(paths, "melanoma", kaggle=True)
        plan = plan.assign(id=plan["edition"] + "/" + plan["isic_id"]).set_index("id")
        table = table.set_index("id")
        assert sorted(table.index) == sorted(plan.index)
        plan = plan.loc[table.index]
        assert (table["label"] == plan["target"].map({0: "benign", 1: "malignant"})).all()
        assert (table["lesion"] == plan["lesion"]).all()
        assert (table["patient"] == plan["patient_id"]).all()
        has_diagnosis = table["edition"] != "2020"
        assert (table["diagnosis"] == diagnoses(plan))[has_diagnosis].all()
        assert len(set(table["diagnosis"])) > 3

    def test_files_are_sorted_by_the_registry(self, drawn) -> None:
        _, paths = drawn
        listed = [path for roles in paths.values() for path in roles.values()]
        assert by_version(listed) == paths

    def test_the_official_list_names_near_duplicates(self, drawn) -> None:
        plan, paths = drawn
        _, pairs = read_editions(paths, "melanoma", kaggle=True)
        near = plan[(plan["edition"] == "2020") & (plan["kind"] == "near")]
        expected_pairs = set(zip(near["duplicate_of"], near["isic_id"], strict=True))
        assert 0 < len(pairs) < len(near)
        assert set(pairs.itertuples(index=False, name=None)) <= expected_pairs

    def test_the_same_bytes_again(self, drawn, tmp_path: Path) -> None:
        plan, paths = drawn
        for edition, roles in paths.items():
            again = {role: tmp_path / Path(path).name for role, path in roles.items()}
            write_challenge_tables(edition, again, plan[plan["edition"] == edition])
            for role in set(roles) - {"images"}:
                assert again[role].read_bytes() == Path(roles[role]).read_bytes()


def test_a_table_in_a_zip_or_beside_it_reads_alike(tables, tmp_path: Path) -> None:
    plain = tmp_path / "truth2018.csv"
    with zipfile.ZipFile(tables["2018"]["diagnoses"]) as archive:
        plain.write_bytes(io.BytesIO(archive.read("GroundTruth/GroundTruth.csv")).getvalue())
    first = read_challenge({"2018": tables["2018"]})
    pd.testing.assert_frame_equal(
        first, read_challenge({"2018": tables["2018"] | {"diagnoses": plain}})
    )
