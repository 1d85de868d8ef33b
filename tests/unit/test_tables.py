"""Tables, their text, and scores against scikit-learn's definitions by hand."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from meddiff.cas.experiment import build_arm
from meddiff.metrics.classification import classification_scores, confusion
from meddiff.metrics.noise import noise_like
from meddiff.metrics.rows import fid_rows, similarity_rows
from meddiff.show import show
from meddiff.tables import (
    KEYS,
    read_part,
    table_5_1,
    table_5_2,
    table_5_3,
    write_metrics,
    write_table,
)

STAMP = {"data": "phantom", "scale": "smoke", "protocol": "audited", "seed": 0}
CLASSES = ["benign", "malignant"]


def told(tp: int, fn: int, fp: int, tn: int) -> pd.DataFrame:
    rows = (
        [("malignant", "malignant")] * tp
        + [("malignant", "benign")] * fn
        + [("benign", "malignant")] * fp
        + [("benign", "benign")] * tn
    )
    return pd.DataFrame(rows, columns=["label", "predicted"])


def test_scores_are_the_studys_own():
    """SkinLesNet's confusion matrix in Table 5.1 gives its printed scores."""
    scores = classification_scores(told(tp=567, fn=5, fp=14, tn=568), CLASSES)
    percent = {name: round(100 * value, 2) for name, value in scores.items()}
    assert percent == {"accuracy": 98.35, "precision": 97.59, "recall": 99.13, "f1": 98.35}
    assert confusion(told(567, 5, 14, 568), CLASSES) == [[568, 14], [5, 567]]


def test_more_than_two_classes_are_averaged():
    table = pd.DataFrame({"label": list("aabc"), "predicted": list("abbb")})
    scores = classification_scores(table, ["a", "b", "c"])
    assert scores["accuracy"] == 0.5
    assert scores["recall"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert scores["precision"] == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_a_classifier_that_never_says_malignant_scores_zero():
    assert classification_scores(told(0, 5, 0, 5), CLASSES)["precision"] == 0


def test_noise_has_the_images_moments():
    rng = np.random.default_rng(0)
    images = rng.normal([120, 90, 60], [20, 10, 5], (50, 16, 16, 3)).clip(0, 255).astype(np.uint8)
    noise = noise_like(images, 60, seed=0, name="x")
    assert noise.shape == (60, 16, 16, 3) and noise.dtype == np.uint8
    assert noise.mean((0, 1, 2)) == pytest.approx(images.mean((0, 1, 2)), abs=0.6)
    assert noise.std((0, 1, 2)) == pytest.approx(images.std((0, 1, 2)), abs=0.6)
    assert np.array_equal(noise, noise_like(images, 60, seed=0, name="x"))
    assert not np.array_equal(noise, noise_like(images, 60, seed=0, name="y"))


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(30, 4)) for name in CLASSES}


@pytest.fixture
def table(features):
    shifted = {name: values + 1 for name, values in features.items()}
    rows = fid_rows("resnet50", features, {"synthetic": shifted, "real": features})
    pairs = {"ssim": np.array([0.2, 0.4]), "ms_ssim": np.array([0.1, 0.3])}
    parts = [rows] + [similarity_rows(name, "synthetic", pairs, 3) for name in CLASSES]
    return table_5_2(parts, "test", {"unet": "no masks", "resnet50": "from scratch"})


def test_fid_of_a_shift_is_its_square(table):
    """Two equal sets one apart in each of four dimensions differ by 4 exactly."""
    fid = table[table["metric"] == "fid"].set_index(["images", "extractor"])["value"]
    assert fid.loc["synthetic", "resnet50"].tolist() == pytest.approx([4, 4])
    assert fid.loc["real", "resnet50"].tolist() == pytest.approx([0, 0], abs=1e-9)


def test_table_5_2_counts_images_and_keeps_notes(table):
    rows = table.set_index(["class", "images", "metric", "extractor"])
    synthetic = rows.loc[("benign", "synthetic", "fid", "resnet50")]
    assert (synthetic["n_real"], synthetic["n_synthetic"]) == (30, 30)
    assert synthetic["note"] == "from scratch" and synthetic["reference"] == "test"
    real = rows.loc[("benign", "real", "fid", "resnet50")]
    assert (real["n_real"], real["n_synthetic"]) == (60, 0)
    ssim = rows[rows.index.get_level_values("metric") == "ssim"].iloc[0]
    assert ssim["value"] == pytest.approx(0.3) and ssim["std"] == pytest.approx(0.1)


def test_an_extractor_without_features_says_why(table):
    missing = table[table["extractor"] == "unet"]
    assert len(missing) == 2 and missing["value"].isna().all()
    assert (missing["note"] == "no masks").all()


def test_table_5_1_without_masks_says_so():
    table = table_5_1(
        {"skinlesnet": told(5, 1, 1, 5).assign(n_real=9)}, None, CLASSES, {"unet": "no masks"}
    )
    unet = table.set_index("extractor").loc["unet"]
    assert unet["note"] == "no masks" and pd.isna(unet["dice"]) and pd.isna(unet["n_test"])
    first = table.loc[0]
    assert first["confusion"] == "5 1 / 1 5" and first["class"] == "malignant"
    assert (first["n_real"], first["n_synthetic"], first["n_test"]) == (9, 0, 12)


def test_table_5_3_has_a_row_a_run():
    run = told(5, 1, 1, 5).assign(n_real=10, n_synthetic=4)
    table = table_5_3([("mixed", 0, run), ("mixed", 1, run)], CLASSES)
    assert table["repetition"].tolist() == [0, 1]
    assert table["accuracy"].tolist() == pytest.approx([10 / 12] * 2)
    assert (table["n_real"] == 10).all() and (table["n_test"] == 12).all()


def test_written_tables_begin_with_the_stamp(table, tmp_path):
    write_table(table, tmp_path / "t.csv", STAMP)
    read = pd.read_csv(tmp_path / "t.csv")
    assert list(read.columns[:4]) == list(STAMP)
    assert (read["scale"] == "smoke").all() and len(read) == len(table)


def test_every_row_names_the_file_that_it_comes_from(features, tmp_path):
    def part(frame: pd.DataFrame, name: str) -> pd.DataFrame:
        frame.to_csv(tmp_path / name, index=False)
        return read_part(tmp_path / name)

    runs = {name: part(told(5, 1, 1, 5).assign(n_real=9), name) for name in ("a.csv", "b.csv")}
    expected = [str(tmp_path / name) for name in runs]
    first = table_5_1(runs, None, CLASSES, {})
    assert first["made_from"].tolist()[:2] == expected and pd.isna(first["made_from"][2])
    third = table_5_3([("real", 0, runs["a.csv"]), ("mixed", 0, runs["b.csv"])], CLASSES)
    assert third["made_from"].tolist() == expected
    rows = [fid_rows(name, features, {"synthetic": features}) for name in ("unet", "resnet50")]
    parts = [part(frame, frame["extractor"][0]) for frame in rows]
    second = table_5_2(parts, "test", {"resnet50": "from scratch"})
    assert (second["made_from"] == str(tmp_path) + "/" + second["extractor"]).all()


def leaves(tree: dict, path: tuple = ()) -> dict:
    """Every number of a nested dictionary by its keys."""
    found = {}
    for key, value in tree.items():
        found |= leaves(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return found


@pytest.fixture
def all_tables(features, tmp_path):
    """The three tables from parts as the workflow has them: read back from CSV."""
    pairs = {"ssim": np.array([0.2, 0.4]), "ms_ssim": np.array([0.1, 0.3])}
    frames = [fid_rows("resnet50", features, {"synthetic": features, "real": features})]
    frames += [similarity_rows(name, "synthetic", pairs, 3) for name in CLASSES]
    parts = []
    for number, frame in enumerate(frames):
        frame.to_csv(tmp_path / f"{number}.csv", index=False)
        parts.append(read_part(tmp_path / f"{number}.csv"))
    run = told(5, 1, 1, 5).assign(n_real=10, n_synthetic=4, made_from="x.csv")
    return {
        "5_1": table_5_1({"skinlesnet": run}, None, CLASSES, {"unet": "no masks"}),
        "5_2": table_5_2(parts, "test", {"unet": "no masks", "resnet50": "from scratch"}),
        "5_3": table_5_3([("mixed", 0, run), ("mixed", 1, run), ("real", 0, run)], CLASSES),
    }


@pytest.mark.parametrize("name", ["5_1", "5_2", "5_3"])
def test_metrics_hold_every_number_of_a_table_under_the_texts_of_its_row(
    all_tables, name, tmp_path
):
    table = all_tables[name]
    write_metrics(table, tmp_path / "m.json")
    expected = {}
    for row in table.to_dict("records"):
        keys = [str(row[key]) for key in KEYS if pd.notna(row.get(key))]
        for column in set(row) - {*KEYS, "confusion", "reference", "made_from", "note"}:
            if pd.notna(row[column]):
                expected[(*keys, column)] = pytest.approx(row[column])
    assert expected and leaves(json.loads((tmp_path / "m.json").read_text())) == expected


def test_metrics_read_as_dvc_shows_them(table, tmp_path):
    write_metrics(table, tmp_path / "m.json")
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["resnet50"]["benign"]["synthetic"]["fid"]["value"] == pytest.approx(4)
    assert metrics["benign"]["synthetic"]["ssim"]["value"] == pytest.approx(0.3)


def test_show_prints_the_studys_shape(table, tmp_path):
    write_table(table, tmp_path / "table_5_2.csv", STAMP)
    text = show(tmp_path / "table_5_2.csv")
    assert "data phantom, scale smoke, protocol audited" in text
    assert "0.3 ± 0.10" in text and "FID resnet50 (4-d)" in text
    assert "unet: no masks" in text and "resnet50: from scratch" in text
    assert "NaN" not in text


def test_show_prints_other_tables_as_they_stand(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n")
    pd.testing.assert_frame_equal(
        pd.read_csv(io.StringIO(show(tmp_path / "t.csv")), sep=r"\s+"),
        pd.DataFrame({"a": [1], "b": ["x"]}),
    )


@pytest.mark.parametrize(
    ("name", "counts", "sizes"),
    [("real", (6, 0), [3, 3]), ("synthetic", (0, 4), [2, 2]), ("mixed", (6, 4), [5, 5])],
)
def test_arms_hold_what_they_say(name, counts, sizes):
    real = [np.zeros((5, 2, 2, 3), np.uint8), np.zeros((3, 2, 2, 3), np.uint8)]
    synthetic = [np.ones((2, 2, 2, 3), np.uint8)] * 2
    arm = build_arm(name, real, synthetic)
    assert (arm.n_real, arm.n_synthetic) == counts
    assert [len(images) for images in arm.images] == sizes
    assert sum(int((images == 0).all((1, 2, 3)).sum()) for images in arm.images) == counts[0]
