"""The table of section 5.1 against the metrics' own functions."""

import numpy as np
import pytest

from meddiff.evaluation.section_5_1 import has_black_background, section_5_1
from meddiff.metrics.frechet import fid
from meddiff.metrics.structural import ms_ssim_pairs, ssim_pairs
from meddiff.reporting.show import show

WINDOW = {"kernel_size": 2, "sigma": 1.5}
SETTINGS = {"ssim": WINDOW, "ms_ssim": WINDOW, "n_resamples": 20}
PUBLISHED = {
    ("synthetic", "fid"): {"value": 5.9603},
    ("synthetic, black background", "ms_ssim"): {"value": 0.2345, "std": 0.2510},
}


def hands(n: int, corners: list[int]) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 1), dtype=np.uint8)
    images[:, 0, -1, 0] = corners
    return images


def test_the_upper_right_corner_decides() -> None:
    found = has_black_background(hands(5, [0, 127, 128, 255, 3]))
    assert found.tolist() == [True, True, False, False, True]
    assert not has_black_background(np.full((1, 8, 8, 3), [0, 0, 200], np.uint8)).any()


def test_rows_are_the_metrics_beside_the_published_values() -> None:
    images = hands(6, [0, 0, 0, 255, 255, 0])
    reference, drawn, real = np.random.default_rng(1).normal(size=(3, 30, 4))
    features = {"synthetic": drawn + 1, "real": real}
    table = section_5_1(reference, features, images, SETTINGS, PUBLISHED, "net", "told", seed=0)
    table = table.set_index(["image_set", "metric"])
    every, black = table.loc["synthetic"], table.loc["synthetic, black background"]
    for name, measure in (("ssim", ssim_pairs), ("ms_ssim", ms_ssim_pairs)):
        for rows, chosen in ((every, images), (black, images[[0, 1, 2, 5]])):
            pairs = measure(chosen, **WINDOW)
            assert rows.loc[name, "value"] == pytest.approx(pairs.mean())
            assert rows.loc[name, "std"] == pytest.approx(pairs.std())
            assert rows.loc[name, "n_synthetic"] == len(chosen)
    assert every.loc["fid", "value"] > 3 and every.loc["fid", "published"] == 5.9603
    assert every.loc["fid", ["extractor", "note", "reference"]].tolist() == [
        "net",
        "told",
        "validation",
    ]
    floor = table.loc[("real", "fid")]
    assert floor["value"] == pytest.approx(fid(real, reference)) and floor["value"] < 1
    assert floor["n_real"] == 60 and floor["n_synthetic"] == 0 and np.isnan(floor["published"])
    assert black.loc["ms_ssim", ["published", "published_std"]].tolist() == [0.2345, 0.2510]


@pytest.mark.parametrize("corners", [[255] * 4, [0, 255, 255, 255]])
def test_too_few_black_backgrounds_have_no_value(corners: list[int]) -> None:
    features = np.random.default_rng(1).normal(size=(10, 3))
    table = section_5_1(
        features, {"synthetic": features}, hands(4, corners), SETTINGS, {}, "net", "told", seed=0
    )
    black = table[table["image_set"] == "synthetic, black background"]
    assert black["value"].isna().all() and (black["n_synthetic"] == corners.count(0)).all()


def test_the_table_can_be_shown(tmp_path) -> None:
    reference, drawn, real = np.random.default_rng(1).normal(size=(3, 30, 4))
    table = section_5_1(
        reference, {"synthetic": drawn, "real": real}, hands(6, [0] * 6), SETTINGS, PUBLISHED,
        "net", "told", seed=0,
    )  # fmt: skip
    table.to_csv(tmp_path / "section_5_1.csv", index=False)
    assert "5.96" in show(tmp_path / "section_5_1.csv")
