"""The table and figure of the weight of guidance."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm

from meddiff.cas.guidance import guidance_table
from meddiff.core.arrays import save_array
from meddiff.reporting.figures.guidance import guidance_figure

CLASSES = ["benign", "malignant"]
WEIGHTS = (0.0, 0.5, 10.0)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    covariances = [np.cov(x.T) for x in (a, b)]
    cross = np.trace(sqrtm(covariances[0] @ covariances[1]).real)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + sum(map(np.trace, covariances)) - 2 * cross)


def predictions(weight: float, rng: np.random.Generator) -> pd.DataFrame:
    """Two trainings, right on 60 % of the test images of weight 0 and on 90 % of the others."""
    rows = []
    for repetition in range(2):
        for name in ("test", "validation"):
            labels = np.tile(CLASSES, 20)
            right = np.arange(40) % 10 < (6 if weight == 0 else 9)
            wrong = np.where(labels == "benign", "malignant", "benign")
            predicted = np.where(right, labels, wrong)
            p = np.where(predicted == "malignant", 0.9, 0.1) + rng.normal(0, 0.01, 40)
            rows.append(
                pd.DataFrame({
                    "classifier": "skinlesnet", "arm": "synthetic", "repetition": repetition,
                    "set": name, "id": [f"{name}{n}" for n in range(40)], "label": labels,
                    "predicted": predicted, "p_benign": 1 - p, "p_malignant": p,
                    "group": [f"{name}{n}" for n in range(40)], "n_images": 40, "n_real": 0,
                    "n_synthetic": 40, "steps": 5, "note": "",
                })
            )  # fmt: skip
    return pd.concat(rows)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    files: dict[str, list[str]] = {"real": [], "guided": [], "predictions": []}
    for cls in CLASSES:
        sets = {"real/test": ("real", rng.normal(0, 1, (120, 4)))}
        for weight in WEIGHTS:
            # More guidance, less variety and further from the mean.
            samples = rng.normal(weight / 4, 1 / (1 + weight), (90, 4))
            sets[f"guided/guided-{weight:g}"] = ("guided", samples)
        for path, (kind, array) in sets.items():
            target = f"features/net/{Path(path).name}/{cls}.npy"
            save_array(array.astype(np.float32), target)
            files[kind].append(target)
    for weight in WEIGHTS:
        target = Path(f"cas/guided-{weight:g}/skinlesnet.csv")
        target.parent.mkdir(parents=True)
        predictions(weight, rng).to_csv(target, index=False)
        files["predictions"].append(str(target))
    return guidance_table(
        files["real"], files["guided"], files["predictions"], ["net"], CLASSES,
        specificity=0.9, n_resamples=20, seed=0,
    )  # fmt: skip


def test_every_weight_has_its_distances_and_what_it_taught(table: pd.DataFrame) -> None:
    cells = table.set_index(["guidance", "metric", "class"])["value"]
    for weight in WEIGHTS:
        for cls in CLASSES:
            real, guided = (
                np.load(f"features/net/{name}/{cls}.npy") for name in ("test", f"guided-{weight:g}")
            )
            assert cells[weight, "fid", cls] == pytest.approx(frechet(guided, real), rel=1e-4)
        (accuracy,) = table.query("metric == 'accuracy' and guidance == @weight")["value"]
        assert accuracy == pytest.approx(0.6 if weight == 0 else 0.9)
        assert cells[weight, "recall", "benign"] >= cells[10.0, "recall", "benign"]
    assert (table["ci_low"] <= table["value"] + 1e-9).all()


def test_the_figure_has_a_panel_each_and_a_line_per_class(table: pd.DataFrame) -> None:
    fid, recall, accuracy = guidance_figure(table).axes
    assert [axis.get_title() for axis in (fid, recall, accuracy)] == ["net", "net", "skinlesnet"]
    labels = [text.get_text() for text in fid.get_legend().get_texts()]
    assert labels == CLASSES
    assert np.allclose(fid.lines[0].get_xdata(), WEIGHTS)
    assert accuracy.get_legend() is None and len(accuracy.lines) > 0
