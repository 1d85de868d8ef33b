"""The audit counts what was planted, and finds nothing where nothing was."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from meddiff.audit.encoding import encoding_table, image_statistics
from meddiff.audit.leakage import leakage_table
from meddiff.audit.overlap import overlap_table
from meddiff.audit.settings import EncodingSettings
from meddiff.data.labels import labels_table
from meddiff.data.splitting.segmentation import without_test_images

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def index_of(rows: list[dict[str, object]]) -> pd.DataFrame:
    """An index of images that have nothing in common but what the rows say."""
    table = pd.DataFrame(rows)
    for column in ("image", "bytes_sha256", "pixels_sha256"):
        own = pd.Series([f"{column}{n}" for n in range(len(table))], table.index)
        table[column] = table[column].fillna(own) if column in table else own
    for column in ("duplicate_of", "patient", "lesion", "diagnosis", "label"):
        table[column] = table.get(column, pd.NA)
    return table.astype({"duplicate_of": "string", "patient": "string", "lesion": "string"})


class TestDuplicates:
    def table(self, index: pd.DataFrame, links: list[tuple[str, str, str]] = ()) -> pd.DataFrame:
        pairs = pd.DataFrame(list(links), columns=["first", "second", "kind"])
        return overlap_table(index, pairs).set_index(["edition", "other_edition"])

    def test_each_way_is_counted_from_both_sides(self) -> None:
        index = index_of(
            [
                {"id": "a/1", "edition": "a", "pixels_sha256": "p"},
                {"id": "a/2", "edition": "a"},
                {"id": "a/3", "edition": "a", "image": "I"},
                {"id": "a/4", "edition": "a"},
                {"id": "b/1", "edition": "b", "pixels_sha256": "p", "duplicate_of": "a/1"},
                {"id": "b/2", "edition": "b", "duplicate_of": "a/2"},
                {"id": "b/3", "edition": "b", "image": "I", "duplicate_of": "a/3"},
                {"id": "b/4", "edition": "b", "duplicate_of": "a/2"},
            ]
        )
        table = self.table(index, [("a/2", "b/2", "official"), ("a/2", "b/4", "near")])
        across = table.loc[("a", "b")]
        assert across.drop("n_images").to_dict() == {
            "duplicates": 3, "same_id": 1, "same_bytes": 0, "same_pixels": 1, "official": 1,
            "near": 1, "indirect": 0, "other_label": 0,
        }  # fmt: skip
        assert table.loc[("b", "a"), "duplicates"] == 4 and table.loc[("b", "a"), "near"] == 1
        assert table.loc[("a", "a"), "duplicates"] == 0
        # Both copies of a/2 stand in b: they repeat each other there, too.
        assert table.loc[("b", "b"), "duplicates"] == 2
        assert table.loc[("b", "b"), ["near", "official"]].tolist() == [0, 0]
        assert table.loc[("b", "b"), "indirect"] == 2
        assert (table["n_images"] == 4).all()

    def test_copies_of_another_class_are_counted(self) -> None:
        index = index_of(
            [
                {"id": "a/1", "edition": "a", "label": "benign", "patient": "P"},
                {"id": "a/2", "edition": "a", "label": "malignant", "patient": "P"},
                {"id": "b/1", "edition": "b", "label": "malignant", "duplicate_of": "a/1"},
                {"id": "b/2", "edition": "b", "label": "malignant", "duplicate_of": "a/2"},
            ]
        )
        result = self.table(index)["other_label"]
        assert result[("a", "b")] == result[("b", "a")] == 1 and result[("a", "a")] == 0

    def test_nothing_in_common(self) -> None:
        index = index_of([{"id": f"{e}/{n}", "edition": e} for e in "ab" for n in range(3)])
        assert (self.table(index).drop(columns="n_images") == 0).all(axis=None)


class TestLabels:
    def test_policies_stand_beside_the_counts(self) -> None:
        rows = [("a", "MEL", "malignant"), ("a", "BCC", "benign"), ("a", "BCC", "benign")]
        index = index_of(
            [
                {"id": f"a/{n}", "edition": e, "diagnosis": d, "label": label}
                for n, (e, d, label) in enumerate([*rows, ("b", pd.NA, "benign")])
            ]
        )
        table = labels_table(index).set_index(["edition", "diagnosis"])
        assert table.loc[("a", "BCC"), "n_images"] == 2
        assert not table.loc[("a", "BCC"), "malignant_by_melanoma"]
        assert table.loc[("a", "BCC"), "malignant_by_malignant"]
        assert pd.isna(table.loc[("b", "missing"), "malignant_by_malignant"])


def family(sizes: dict[str, int], images: int = 60) -> pd.DataFrame:
    """Two classes; `sizes` says how many neighbours share a patient, lesion or picture."""
    rows = []
    for number in range(images):
        copies = number // sizes.get("photograph", 1) * sizes.get("photograph", 1)
        rows.append(
            {
                "id": f"e/{number:03d}",
                "edition": "e",
                "label": "benign" if number < images // 2 else "malignant",
                "duplicate_of": pd.NA if copies == number else f"e/{copies:03d}",
                "patient": f"P{number // sizes.get('patient', 1)}",
                "lesion": f"L{number // sizes.get('lesion', 1)}",
                "group": number // max(sizes.values(), default=1),
            }
        )
    return index_of(rows)


def leaks(index: pd.DataFrame, segmentation: pd.DataFrame | None = None, seed: int = 0):
    table = leakage_table(index, segmentation, fractions=FRACTIONS, counts={}, seed=seed)
    return table.set_index(["protocol", "net", "unit"])


class TestLeakage:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 1000), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3]))
    def test_nothing_crosses_when_leak_free(self, seed: int, patient: int, photograph: int) -> None:
        table = leaks(family({"patient": patient, "photograph": photograph}), seed=seed)
        assert (table.loc["leak_free", ["n_shared", "n_leaked"]] == 0).all(axis=None)

    def test_random_splits_leak_what_belongs_together(self) -> None:
        table = leaks(family({"patient": 3})).loc["as_published"]
        assert table.loc[("classifier", "patient"), "n_leaked"] > 0
        for unit in ("image", "lesion"):
            assert table.loc[("classifier", unit), "n_leaked"] == 0
        table = leaks(family({"photograph": 3, "lesion": 3})).loc["as_published"]
        assert table.loc[("classifier", "image"), "n_leaked"] > 0
        assert (table["n_leaked"] <= table["n_test"]).all()

    def test_the_studys_ddpms_have_seen_every_test_image(self) -> None:
        table = leaks(family({}))
        assert table.loc[("as_published", "ddpm", "image"), "share"] == 1
        assert table.loc[("leak_free", "ddpm", "image"), "share"] == 0
        other = leakage_table(
            family({}), None, fractions=FRACTIONS, counts={}, seed=0, ddpm_sets=["train"]
        ).set_index(["protocol", "net", "unit"])
        assert other.loc[("as_published", "ddpm", "image"), "share"] == 0

    def test_images_without_a_patient_have_none_in_common(self) -> None:
        index = family({}).assign(patient=pd.NA)
        table = leaks(index).loc[("as_published", "classifier")]
        assert table.loc["patient", ["n_shared", "n_leaked", "share"]].isna().all()
        assert table.loc["lesion", "n_leaked"] == 0

    def test_the_unet_loses_the_lesions_test_images(self) -> None:
        index = family({"photograph": 2, "lesion": 2, "patient": 2})
        segmentation = pd.DataFrame(
            {"id": index["id"], "image": index["image"], "split": "train"}
        ).astype("string")
        table = leaks(index, segmentation)
        assert table.loc[("as_published", "unet", "image"), "share"] == 1
        assert table.loc[("leak_free", "unet", "image"), "n_leaked"] == 0
        assert table.loc[("leak_free", "unet", "image"), "n_train"] > 0

    @pytest.mark.parametrize("same", ["bytes_sha256", "pixels_sha256"])
    def test_the_unet_loses_them_under_other_ids_too(self, same: str) -> None:
        """The archive has one file under several ids."""
        index = family({})
        segmentation = index[["id", "bytes_sha256", "pixels_sha256"]].assign(
            image=[f"other{n}" for n in range(len(index))], split="train"
        )
        kept = {"bytes_sha256", "pixels_sha256"} - {same}
        segmentation = segmentation.drop(columns=[*kept])
        table = leaks(index, segmentation)
        assert table.loc[("as_published", "unet", "image"), "share"] == 1
        assert table.loc[("leak_free", "unet", "image"), "n_leaked"] == 0

    def test_without_an_official_split_each_protocol_splits_the_masks(self) -> None:
        """Whatever protocol the run has: what its own split was changes no row of the other."""
        index = family({"photograph": 2}).assign(mask_member="m")
        tables = [
            leakage_table(
                index, run, fractions=FRACTIONS, counts={}, seed=0, official=False
            ).set_index(["protocol", "net", "unit"])
            for run in (index.assign(split="train"), index.assign(split="test"))
        ]
        pd.testing.assert_frame_equal(*tables)
        assert tables[0].loc[("as_published", "unet", "image"), "n_leaked"] > 0
        assert tables[0].loc[("leak_free", "unet", "image"), "n_leaked"] == 0

    def test_a_split_that_cannot_be_is_a_note(self) -> None:
        """Two groups of a class cannot be in three splits; by chance they can."""
        index = family({}).assign(group=lambda table: table["label"])
        table = leaks(index)
        assert table.loc["as_published", "n_test"].notna().all()
        assert table.loc["leak_free", "note"].str.startswith("cannot split: class").all()
        assert len(table.loc["leak_free"]) == 1

    def test_what_was_taken_out_is_told_again(self) -> None:
        segmentation = pd.DataFrame({"image": ["A", "B", "C"], "split": ["train", "train", "test"]})
        lesions = pd.DataFrame(
            {"image": ["A", "X", "C"], "group": [1, 1, 2], "split": ["train", "test", "test"]}
        )
        once = without_test_images(segmentation, lesions)
        assert once["split"].fillna("-").tolist() == ["-", "train", "test"]
        assert once["official_split"].tolist() == ["train", "train", "test"]
        pd.testing.assert_frame_equal(without_test_images(once, lesions), once)


def pictures(path: Path, count: int, quality: dict[int, int] | None = None) -> pd.DataFrame:
    """Smooth pictures as JPEGs in a zip; `quality` by label, 90 without one."""
    rng = np.random.default_rng(5)
    rows = []
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            coarse = rng.integers(60, 200, (9, 9, 3), dtype=np.uint8)
            noise = rng.normal(0, 6, (96, 96, 3))
            smooth = np.asarray(Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC))
            pixels = np.clip(smooth + noise, 0, 255).astype(np.uint8)
            file, label = io.BytesIO(), number % 2
            q = (quality or {}).get(label, 90)
            Image.fromarray(pixels).save(file, "JPEG", quality=q)
            archive.writestr(f"{number}.jpg", file.getvalue())
            rows.append(
                {"archive": str(path), "member": f"{number}.jpg", "label": f"class{label}",
                 "group": number, "encoding": f"JPEG {q}", "width": 96, "height": 96}
            )  # fmt: skip
    return pd.DataFrame(rows)


class TestEncoding:
    @staticmethod
    def table(rows: pd.DataFrame, workers: int = 1, **changes: object) -> pd.DataFrame:
        settings = EncodingSettings.model_validate({"images": 200} | changes)
        table = encoding_table(rows, settings, crop=None, size=48, seed=1, workers=workers)
        return table.set_index("treatment")

    def test_only_a_difference_in_encoding_is_found(self, tmp_path: Path) -> None:
        table = self.table(pictures(tmp_path / "i.zip", 200))
        for name in ("one label re-encoded", "one label stretched and re-encoded"):
            assert table.loc[name, "ci_low"] > 0.6
        for name in ("as stored", "all re-encoded alike"):
            assert table.loc[name, "ci_low"] <= 0.55 and table.loc[name, "ci_high"] >= 0.45
        assert (table["ci_low"] <= table["accuracy"]).all()
        assert (table["accuracy"] <= table["ci_high"]).all()
        assert table.loc["headers of the files", "accuracy"] < 0.6

    def test_headers_that_tell_the_class_are_found(self, tmp_path: Path) -> None:
        table = self.table(pictures(tmp_path / "i.zip", 60, {0: 90, 1: 70}), images=20)
        assert table.loc["headers of the files", "accuracy"] == 1

    def test_too_few_images_are_not_scored(self, tmp_path: Path) -> None:
        rows = pictures(tmp_path / "i.zip", 12).assign(group=lambda table: table["label"])
        table = self.table(rows, images=12)
        assert np.isnan(table.loc["headers of the files", "accuracy"])
        assert table.loc["as stored", "n_images"] == 12

    def test_one_class_alone_is_not_scored(self, tmp_path: Path) -> None:
        table = self.table(pictures(tmp_path / "i.zip", 12).assign(label="x"), images=12)
        assert np.isnan(table.loc["headers of the files", "accuracy"])
        assert np.isfinite(table.loc["as stored", "accuracy"])

    @pytest.mark.parametrize("count", [2, 3, 6, 9])
    def test_very_few_images_are_no_fault(self, tmp_path: Path, count: int) -> None:
        table = self.table(pictures(tmp_path / "i.zip", count), images=count)
        assert np.isnan(table.loc["as stored", "accuracy"]) == (count < 4)

    def test_workers_change_nothing(self, tmp_path: Path) -> None:
        rows = pictures(tmp_path / "i.zip", 40)
        first, second = (self.table(rows, images=20, workers=n) for n in (1, 3))
        pd.testing.assert_frame_equal(first, second)

    def test_statistics_see_levels_and_sharpness_apart(self) -> None:
        image = np.random.default_rng(0).integers(50, 200, (32, 32, 3), dtype=np.uint8)
        plain = image_statistics(image)
        assert np.isfinite(plain).all()
        brighter = image_statistics(image + np.uint8(20))
        assert brighter[:27] == pytest.approx(plain[:27] + 20)
        assert brighter[27:45] == pytest.approx(plain[27:45])
