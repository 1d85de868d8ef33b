"""`snakemake families` at smoke scale: every family is trained, drawn from, scored and shown."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from conftest import ROOT, SMOKE

HAND = ROOT / "config/hand.yaml"
SMALL = {
    "data": {"size": 16},
    "metrics": {"likelihood_images": 8},
    "sampling": {"images": 8, "steps": 3},
}


def test_families_of_a_run_without_a_judge_are_refused_in_one_line(tmp_path, snakemake) -> None:
    refused = snakemake(tmp_path, "families", "--dry-run", configs=(HAND,), check=False)
    assert refused.returncode == 1 and "Traceback" not in refused.stdout
    [line] = [line for line in refused.stdout.splitlines() if "families.yaml" in line]
    assert "classifier" in line


@pytest.mark.slow
def test_every_family_is_compared(tmp_path: Path, snakemake) -> None:
    overlay = tmp_path / "small.yaml"
    overlay.write_text(yaml.safe_dump(SMALL))
    snakemake(tmp_path / "run", "families", configs=(SMOKE, overlay))
    table = pd.read_csv(tmp_path / "run/results/families.csv")
    families = yaml.safe_load((ROOT / "config/families.yaml").read_text())
    rows = {(family, sampler) for family in families for sampler in families[family]["samplers"]}
    assert set(zip(table["family"], table["sampler"], strict=True)) == rows
    whole = table[table["class"] == "all"]
    assert whole[["fid", "kid", "precision", "coverage", "ssim"]].notna().all().all()
    own = table[table["class"].isin(["benign", "malignant"])]
    assert own[["bits_training", "bits_unseen", "bits_gap_ci_low"]].notna().all().all()
    assert (own[["seconds_to_train", "seconds_to_draw"]] > 0).all().all()
    for name in ("families", "families_samples"):
        with Image.open(tmp_path / f"run/results/figures/{name}.png") as picture:
            assert min(picture.size) > 200
