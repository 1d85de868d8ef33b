"""`make study-gpu` on a machine without archives, and its results on a third one."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from collaboration import OUTPUTS, Clone, new_project

pytestmark = pytest.mark.slow

NET = {"channels": [8, 8], "attention": [False, False], "head_channels": 8, "norm_groups": 4}
TINY = {
    "scale": "smoke",
    "compute": {"device": "cpu", "threads": 1, "compile": False},
    "data": {"size": 32},
    "diffusion": {"epochs": 1, "network": NET, "batch_size": 4, "precision": "fp32"},
    "sampling": {"images": 8, "steps": 3, "precision": "fp32", "sampler": "ddim"},
    "metrics": {"n_resamples": 10, "ms_ssim": {"kernel_size": 2}, "ssim": {"kernel_size": 3}},
}
LESIONS = {
    "data": {"source": "phantom"},
    "diffusion": {"classes": {"benign": {"epochs": 1}, "malignant": {"epochs": 1}}},
    "extractors": {
        "unet": {"epochs": 1, "channels": [4, 8, 16]},
        "skinlesnet": {"epochs": 1},
        "resnet50": {"epochs": 1, "weights": "none"},
    },
    "cas": {"epochs": 1},
}
HANDS = {
    "data": {"source": "phantom_hand", "phantom": {"hands": 60}},
    "extractors": {"weights": "auto"},
}
RUNS = {"study-2018": LESIONS, "thesis-hand": HANDS}


def merged(base: dict, overlay: dict) -> dict:
    both = base.keys() & overlay.keys()
    nested = {k: merged(base[k], overlay[k]) for k in both if isinstance(base[k], dict)}
    return base | overlay | nested


@pytest.fixture(scope="module")
def home(programs, tmp_path_factory) -> Clone:
    """Who has the archives: a project whose profiles are tiny, with image sets and nets made."""
    folder = tmp_path_factory.mktemp("study")
    for name in (*OUTPUTS, ".snakemake"):
        (folder / "no run" / name).mkdir(parents=True)
    project = new_project(folder / "home", folder / "no run", programs)
    project.run("dvc", "remote", "add", "--quiet", "--default", "store", folder / "store")
    for name, own in RUNS.items():
        overlay = f"config/tiny-{name}.yaml"
        (project.root / overlay).write_text(yaml.safe_dump(merged(TINY, own)))
        file = project.root / f"profiles/{name}/config.yaml"
        profile = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump(profile | {"configfile": [*profile["configfile"], overlay]}))
    project.commit("Tiny")
    files = ["predictions/unet.csv", "predictions/skinlesnet.csv"]
    files += [f"data/images/{split}/{name}.npy" for split in ("train", "validation", "test")
              for name in ("benign", "malignant")]  # fmt: skip
    project.snakemake("--profile", "profiles/study-2018", *files)
    project.snakemake("--profile", "profiles/thesis-hand", "data/images/train/hand.npy")
    project.meddiff("pack", "images.zip", *(f"runs/{name}" for name in RUNS))
    return project


@pytest.fixture(scope="module")
def away(home, tmp_path_factory) -> Clone:
    """A clone that has the zip alone, after `make study-gpu`."""
    clone = home.clone(tmp_path_factory.mktemp("gpu") / "away")
    shutil.copy(home.root / "images.zip", clone.root)
    clone.run("make", "study-gpu", f"GPU_PYTHON={sys.executable}", "IMAGES=images.zip", "SHARING=1")
    return clone


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_image_sets_and_nets_are_those_of_the_archives_bit_for_bit(home, away) -> None:
    for run in RUNS:
        made = home.root / "runs" / run
        files = [*made.glob("data/**/*.npy"), *made.glob("models/*.safetensors")]
        assert files
        for file in files:
            assert sha256(away.root / file.relative_to(home.root)) == sha256(file)
        assert not (away.root / "runs" / run / "data/raw").exists()


def test_the_page_has_no_open_cell_of_the_study_as_published(away) -> None:
    page = (away.root / "docs/study.md").read_text()
    assert "study-2018)" in page and "thesis-hand)" in page
    tables = page.split("## Section 5.1")[1].split("## HOG")[0]
    rows = [line.split(" | ") for line in tables.splitlines() if line.startswith("| ")]
    assert len(rows) > 40 and not [row for row in rows if row[2].startswith("waits")]


def test_run_again_it_has_nothing_to_do(away) -> None:
    again = away.run("make", "study-gpu", f"GPU_PYTHON={sys.executable}", "SHARING=1")
    assert again.stdout.count("Nothing to be done") == len(RUNS)


def test_shared_tables_are_restored_and_proven_down_to_the_archives(home, away, tmp_path) -> None:
    """What came home from the GPU is shared there, where its archives are."""
    target = "runs/study-2018/results/table_5_2.csv"
    away.meddiff("pack", "results.zip", *(f"runs/{name}" for name in RUNS), "--largest", "1000")
    home.meddiff("unpack", away.root / "results.zip")
    home.meddiff("share", target)
    home.commit("Share")
    third = home.clone(tmp_path / "third")
    third.meddiff("restore", target)
    assert (third.root / target).read_bytes() == (away.root / target).read_bytes()
    (third.root / "docs/study.md").unlink()
    third.meddiff("study")
    assert "waits for a GPU" not in line_of(third, "benign, synthetic, SSIM")
    proof = json.loads(third.meddiff("verify", target, "--json").stdout)[0]
    assert proof["proven"]
    files = {file["path"]: file["sha256"] for file in proof["files"]}
    archives = {path: digest for path, digest in files.items() if path.startswith("data/raw/")}
    raw = home.root / "runs/study-2018"
    assert archives and all(sha256(raw / path) == digest for path, digest in archives.items())
    page = (third.root / "docs/study.md").read_text()
    assert all(digest in page for path, digest in archives.items() if "kaggle" in path)


def line_of(clone: Clone, cell: str) -> str:
    page = (clone.root / "docs/study.md").read_text()
    return next(line for line in page.splitlines() if line.startswith(f"| {cell} |")).split("|")[3]
