"""A run with one net for all classes, guided, its images drawn in shards."""

import numpy as np
import pandas as pd
import pytest

from conftest import SMOKE, planned
from meddiff.core.checkpoints import load_metadata

pytestmark = pytest.mark.slow

OVERLAY = """
diffusion: {conditional: true, augmentation: hand}
sampling: {guidance: 1, shards: 2, images: 40}
guidance: {weights: [0, 1.5], images: 8}
"""
TARGETS = [
    "results/memorisation.csv",
    "results/figures/ddpm/benign_previews.png",
    "metrics/similarity/synthetic.csv",
    "results/guidance.csv",
]


def test_every_class_comes_from_the_one_net(snakemake, tmp_path):
    overlay = tmp_path / "conditional.yaml"
    overlay.write_text(OVERLAY)
    configs = [SMOKE, overlay]
    snakemake(tmp_path, *TARGETS, configs=configs)
    assert [path.name for path in (tmp_path / "models/ddpm").glob("*.safetensors")] == [
        "all.safetensors"
    ]
    assert load_metadata(tmp_path / "models/ddpm/all.safetensors")["classes"] == [
        "benign", "malignant",
    ]  # fmt: skip
    sets = [
        np.load(tmp_path / f"data/images/synthetic/{cls}.npy") for cls in ("benign", "malignant")
    ]
    assert sets[0].shape == sets[1].shape == (40, 32, 32, 3)
    assert not np.array_equal(*sets)
    assert np.load(tmp_path / "models/ddpm/all_previews.npy").shape[1:] == (4, 32, 32, 3)
    table = pd.read_csv(tmp_path / "results/guidance.csv")
    assert set(table["guidance"]) == {0, 1.5}
    # Recall needs more images than a smoke run has.
    assert {"fid", "kid", "accuracy"} <= set(table["metric"])
    losses = pd.read_csv(tmp_path / "results/memorisation.csv").query("by == 'denoising loss'")
    assert set(losses["class"]) == {"benign", "malignant"} and losses["auc"].notna().all()
    assert planned(snakemake(tmp_path, *TARGETS, "--dry-run", configs=configs).stdout) == {}
    more = tmp_path / "more.yaml"
    more.write_text("sampling: {guidance: 2}")
    again = planned(snakemake(tmp_path, *TARGETS, "--dry-run", configs=[*configs, more]).stdout)
    assert again["sample_shard"] == 4 and "train_ddpm" not in again
