"""A run whose DDPMs work in the latent space of an autoencoder."""

import numpy as np
import pandas as pd
import pytest

from conftest import SMOKE, planned

pytestmark = pytest.mark.slow

OVERLAY = """
diffusion:
  network: {channels: [8, 16], attention: [false, true]}
  latent: {steps: 10, channels: [16, 16]}
"""
TARGETS = ["results/reconstruction.csv", "metrics/similarity/synthetic.csv",
           "results/memorisation.csv"]  # fmt: skip


def test_images_come_out_of_latents(snakemake, tmp_path):
    overlay = tmp_path / "latent.yaml"
    overlay.write_text(OVERLAY)
    configs = [SMOKE, overlay]
    snakemake(tmp_path, *TARGETS, configs=configs)
    table = pd.read_csv(tmp_path / "results/reconstruction.csv")
    assert set(table["image_set"]) == {"train", "test"}
    assert set(table["metric"]) == {"psnr", "ssim"} and table["value"].notna().all()
    assert np.load(tmp_path / "data/images/synthetic/benign.npy").shape == (8, 32, 32, 3)
    assert planned(snakemake(tmp_path, *TARGETS, "--dry-run", configs=configs).stdout) == {}
    longer = tmp_path / "longer.yaml"
    longer.write_text("diffusion: {latent: {steps: 11}}")
    again = planned(snakemake(tmp_path, *TARGETS, "--dry-run", configs=[*configs, longer]).stdout)
    assert again["train_autoencoder"] == 1 and again["train_ddpm"] == 2
