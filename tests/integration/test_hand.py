"""A run of one class of grey images, compared as section 5.1 of the study compares."""

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT, planned
from meddiff.metrics.structural import ssim_pairs

pytestmark = pytest.mark.slow
CONFIGS = [ROOT / "config/hand.yaml", ROOT / "tests/hand.yaml"]


@pytest.fixture(scope="module")
def hand_run(snakemake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hand")
    snakemake(folder, "all", "results/comparison.csv", configs=CONFIGS)
    return folder


@pytest.fixture(scope="module")
def table(hand_run):
    table = pd.read_csv(hand_run / "results/table_5_2.csv", keep_default_na=False)
    return table.set_index(["image_set", "metric", "extractor", "subset"])


def images(run, name):
    return np.load(run / f"data/images/{name}/hand.npy")


def test_a_run_of_one_class_has_every_table_but_those_of_classifiers(hand_run, snakemake):
    results = {path.name for path in (hand_run / "results").glob("*.csv")}
    assert results == {"table_5_2.csv", "memorisation.csv", "sample_checks.csv", "comparison.csv"}
    assert (hand_run / "results/samples/hand.png").is_file()
    assert not (hand_run / "cas").exists() and not (hand_run / "predictions").exists()
    assert planned(snakemake(hand_run, "all", "--dry-run", configs=CONFIGS).stdout) == {}


def test_images_have_one_channel(hand_run):
    for name in ("train", "validation", "test", "synthetic", "noise", "augmented-validation"):
        arrays = images(hand_run, name)
        assert arrays.shape[1:] == (32, 32, 1) and arrays.dtype == np.uint8


def test_the_reference_is_flipped_and_inverted_and_nothing_else(hand_run):
    before, after = (images(hand_run, name) for name in ("validation", "augmented-validation"))
    changed = 0
    for one, other in zip(before, after, strict=True):
        flips = [one, one[::-1], one[:, ::-1], one[::-1, ::-1]]
        assert any(np.array_equal(other, view) for flip in flips for view in (flip, 255 - flip))
        changed += not np.array_equal(one, other)
    assert changed


def test_fid_compares_with_the_changed_validation_images(hand_run, table):
    """Recomputed from the saved features from the singular values."""
    load = lambda name: np.load(hand_run / f"features/radimagenet/{name}/hand.npy")  # noqa: E731
    a, b = load("synthetic").astype(float), load("validation").astype(float)
    gap = ((a.mean(0) - b.mean(0)) ** 2).sum()
    a, b = (x - x.mean(0) for x in (a, b))
    a, b = (x / np.sqrt(len(x) - 1) for x in (a, b))
    # The trace of (A'A B'B)^(1/2) is the sum of the singular values of AB'.
    expected = gap + (a**2).sum() + (b**2).sum() - 2 * np.linalg.svd(a @ b.T)[1].sum()
    row = table.loc[("synthetic", "fid", "radimagenet", "")]
    assert float(row["value"]) == pytest.approx(expected, rel=1e-2, abs=1e-4)
    assert row["reference"] == "validation" and "random" in row["note"]
    assert int(row["n_real"]) == len(b)


def test_real_images_beside_synthetic_ones_are_those_left(hand_run, table):
    """No DDPM learns from the test images, and nothing is compared with them."""
    row = table.loc[("real", "fid", "radimagenet", "")]
    sizes = [len(images(hand_run, name)) for name in ("test", "validation", "synthetic")]
    assert int(row["n_real"]) == sizes[1] + min(sizes)


def test_similarity_is_of_all_pairs_and_of_those_on_black(hand_run, table):
    every = images(hand_run, "synthetic"), images(hand_run, "train")
    for name, whole in zip(("synthetic", "real"), every, strict=True):
        black = whole[whole[:, 0, -1, 0] <= 127]
        for subset, chosen in (("", whole), ("black_background", black)):
            row = table.loc[(name, "ssim", "", subset)]
            assert int(row["n_real"]) + int(row["n_synthetic"]) == len(chosen)
            if len(chosen) > 1:
                expected = ssim_pairs(chosen, kernel_size=2, sigma=1.5)
                assert float(row["value"]) == pytest.approx(expected.mean(), abs=1e-5)
                assert float(row["std"]) == pytest.approx(expected.std(), abs=1e-5)


def test_the_comparison_sets_section_5_1_beside_the_run(hand_run, table):
    rows = pd.read_csv(hand_run / "results/comparison.csv", dtype=str).set_index("cell")
    for cell, published, key in (
        ("hand, synthetic, fid, radimagenet", "5.9603", ("synthetic", "fid", "radimagenet", "")),
        ("hand, synthetic, ssim", "0.1654", ("synthetic", "ssim", "", "")),
    ):
        row = rows.loc[[cell]].query("column == 'value'")
        here = row[row["run"] == "this run"].iloc[0]
        assert here["reported"] == published and here["scale"] == "smoke"
        assert float(here["value"]) == pytest.approx(float(table.loc[key, "value"]), rel=1e-4)
