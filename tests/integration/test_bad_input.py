"""What a user may hand in by mistake: one clear line, nothing half-written, nothing else lost."""

import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from conftest import ROOT, SMOKE
from meddiff.data.phantom.challenge import write_challenge_tables
from meddiff.data.phantom.plan import plan_editions
from meddiff.data.registry import registered_files

SPLIT = "data/images/split.csv"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Make a small folder of images with its table: two classes, twelve images each."""
    rng = np.random.default_rng(0)
    images = tmp_path / "mine/images"
    images.mkdir(parents=True)
    rows = ["id,label"]
    for number in range(24):
        pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"im{number:02d}.png")
        rows.append(f"im{number:02d},{'a' if number % 2 else 'b'}")
    (tmp_path / "mine/table.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "mine"


@pytest.fixture
def run_folder(folder, snakemake, tmp_path):
    """Return a function that runs a target on the folder, with changes to the configuration."""

    def run(target: str = SPLIT, check: bool = False, **changes):
        settings = {"images": str(folder / "images"), "table": str(folder / "table.csv")}
        data = {"source": "folder", "classes": ["a", "b"], "folder": settings | changes}
        overlay = tmp_path / "mine.yaml"
        # Two images of each class in every split.
        shares = {"validation": 0.2, "test": 0.2}
        overlay.write_text(yaml.safe_dump({"data": data, "split": shares}))
        return snakemake(tmp_path / "run", target, configs=[SMOKE, overlay], check=check)

    return run


def error_line(done: subprocess.CompletedProcess) -> str:
    """Return the one line that says what is wrong, and see that no traceback hides it."""
    assert done.returncode != 0, done.stdout[-3000:]
    assert "Traceback" not in done.stdout, done.stdout[-3000:]
    lines = [line.split("error: ", 1)[1] for line in done.stdout.splitlines() if "error: " in line]
    assert lines, done.stdout[-3000:]
    return lines[0]


def leftovers(run: Path) -> list[Path]:
    """Files with a temporary name that a failed job left."""
    places = ("data", "models", "features", "metrics", "results", "cas", "predictions")
    return [p for place in places for p in (run / place).rglob(".*") if p.is_file()]


def truncate(folder):
    path = folder / "images/im03.png"
    path.write_bytes(path.read_bytes()[:300])


def empty(folder):
    (folder / "images/im03.png").write_bytes(b"")


def text_as_image(folder):
    (folder / "images/im03.png").write_text("not an image")


def edit_table(old, new):
    def edit(folder):
        table = folder / "table.csv"
        text = table.read_text()
        assert old in text
        table.write_text(text.replace(old, new, 1))

    return edit


FAULTS = {
    "truncated image": (truncate, r"im03\.png"),
    "zero-byte image": (empty, r"im03\.png"),
    "text file named as an image": (text_as_image, r"im03\.png"),
    "an id listed twice": (edit_table("im03,a", "im03,a\nim03,a"), r"table\.csv.*im03 \(rows"),
    "a label missing": (edit_table("im03,a", "im03,"), r"im03.*missing"),
    "a label unknown": (edit_table("im03,a", "im03,zebra"), r"im03.*zebra"),
    "a row without its image": (edit_table("im03,a", "im03,a\nim99,a"), r"im99"),
    "a column missing": (edit_table("id,label", "id,zebra"), r"'label'.*zebra"),
}


QUICK = ("truncated image", "a label unknown")
"""One of each kind; what each fault is called is seen without a run in tests/unit."""
CASES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAULTS]


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_named_with_its_remedy(folder, run_folder, tmp_path, name):
    plant, pattern = FAULTS[name]
    plant(folder)
    line = error_line(run_folder())
    assert re.search(pattern, line), line
    assert not (tmp_path / "run/data/images/index.csv").exists()
    assert leftovers(tmp_path / "run") == []


def test_a_class_too_small_for_its_splits(folder, run_folder):
    table = folder / "table.csv"
    kept = [line for line in table.read_text().splitlines() if not line.endswith(",a")]
    table.write_text("\n".join([*kept, "im01,a"]) + "\n")
    line = error_line(run_folder())
    assert re.search(r"class a .*\b1 .*data\.classes", line), line


def test_a_folder_without_its_table_is_named(folder, run_folder):
    (folder / "table.csv").unlink()
    done = run_folder()
    assert done.returncode != 0 and "table.csv" in done.stdout


def test_an_archive_without_metadata_is_named(snakemake, tmp_path):
    """A raw folder in the place of the archive, as the published layout but without its table."""
    plan = plan_editions(0, {e: {"benign": 2} for e in ("2018", "2019", "2020")}, 0, 0)
    for edition, rows in plan.groupby("edition"):
        files = registered_files("isic", edition)
        tables = {role: tmp_path / "data/raw/published" / file for role, file in files.items()}
        write_challenge_tables(edition, tables, rows)
        raw = tmp_path / f"data/raw/published/kaggle/{edition}.zip"
        (raw / "train-image/image").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(raw / "train-image/image/ISIC_0000001.jpg")
    overlay = tmp_path / "kaggle.yaml"
    overlay.write_text("data: {source: kaggle}\n")
    done = snakemake(tmp_path, SPLIT, configs=[SMOKE, overlay], check=False)
    line = error_line(done)
    assert "train-metadata.csv" in line and "2018.zip" in line


def test_odd_formats_are_converted_and_turned(folder, run_folder, tmp_path):
    rng = np.random.default_rng(1)
    images = folder / "images"
    colour = Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
    odd = {
        "im01": (colour.convert("CMYK"), ".jpg"),
        "im03": (colour.convert("RGBA"), ".png"),
        "im05": (colour.convert("L"), ".jpg"),
        "im07": (Image.fromarray(rng.integers(0, 65536, (40, 48), dtype=np.uint16)), ".png"),
        "im09": (colour.convert("P"), ".png"),
    }
    for name, (image, suffix) in odd.items():
        (images / f"{name}.png").unlink()
        image.save(images / f"{name}{suffix}")
    turned = Image.Exif()
    turned[0x0112] = 6
    (images / "im11.png").unlink()
    gradient = np.zeros((40, 48, 3), np.uint8)
    gradient[:, :24] = 255
    Image.fromarray(gradient).save(images / "im11.jpg", exif=turned, quality=95)
    run_folder("data/images/train/a.npy", check=True)
    index = pd.read_csv(tmp_path / "run/data/images/index.csv").set_index("id")
    assert (index.loc["im11", "width"], index.loc["im11", "height"]) == (40, 48)
    assert np.load(tmp_path / "run/data/images/train/a.npy").dtype == np.uint8


@pytest.fixture
def mount(tmp_path):
    """Return a function that mounts a small tmpfs on a folder."""
    mounted = []

    def mount(folder: Path, options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a tmpfs cannot be mounted here; it needs root")
        mounted.append(folder)

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_read_only_results_folder_stops_before_any_work(mount, snakemake, tmp_path):
    results = tmp_path / "run/results"
    if os.geteuid() == 0:
        mount(results, "ro")  # root may write whatever the mode says
    else:
        results.mkdir(parents=True)
        results.chmod(0o555)
    done = snakemake(tmp_path / "run", "results/table_5_2.csv", check=False)
    assert done.returncode != 0
    assert re.search(r"results/: .*read-only", done.stdout)
    assert not (tmp_path / "run/data").exists()


def test_a_full_disk_leaves_no_half_written_file(mount, snakemake, tmp_path):
    run = tmp_path / "run"
    mount(run / "data/images/train", "size=16k")
    (run / "data/images/train/mine.txt").touch()  # or Snakemake tidies the mount point away
    done = snakemake(run, "data/images/train/benign.npy", check=False)
    line = error_line(done)
    assert re.search(r"space .*data/images/train/benign", line)
    assert not (run / "data/images/train/benign.npy").exists()
    assert leftovers(run) == []
    assert (run / SPLIT).stat().st_size > 0


def test_a_loss_that_turns_nan_keeps_finished_files(smoke_run, snakemake, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(smoke_run, run, ignore=shutil.ignore_patterns("locks"))
    before = (run / "models/ddpm/benign.safetensors").read_bytes()
    overlay = tmp_path / "hot.yaml"
    overlay.write_text("diffusion: {steps: 40, lr: 1.0e+18, lr_schedule: constant, classes: {}}\n")
    target = "models/ddpm/malignant.safetensors"
    done = snakemake(run, target, configs=[SMOKE, overlay], check=False)
    line = error_line(done)
    assert "ddpm malignant" in line and "step" in line and "diffusion.lr" in line
    assert not (run / target).exists()
    assert (run / "models/ddpm/benign.safetensors").read_bytes() == before
    assert leftovers(run) == []


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("sed=1", r"\bsed\b.*\bscale, seed\b"),
        pytest.param("protocol=honest", r"\bprotocol .*'honest'", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_configuration_stops_before_any_job(snakemake, tmp_path, setting, words):
    done = snakemake(tmp_path / "run", "--config", setting, check=False)
    assert done.returncode != 0 and re.search(words, done.stdout)
    assert not (tmp_path / "run/data").exists() and not (tmp_path / "run/logs").exists()


class TestStudyScale:
    @pytest.fixture
    def plan(self, programs):
        return partial(self.run, programs / "snakemake")

    def run(self, program: Path, profile: str, *arguments: str, home: Path):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("KAGGLE")}
        env = {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        return subprocess.run(
            [program, "--profile", f"profiles/{profile}", *arguments, "results/table_5_2.csv"],
            cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False, timeout=300,
        )  # fmt: skip

    @pytest.mark.parametrize(
        "profile", ["thesis", pytest.param("thesis-leak-free", marks=pytest.mark.slow)]
    )
    def test_it_is_planned_without_credentials(self, plan, profile, tmp_path):
        done = plan(profile, "--dry-run", home=tmp_path)
        assert done.returncode == 0, done.stdout[-3000:]
        for rule in ("download", "train_ddpm", "sample", "table_5_2"):
            assert rule in done.stdout
        assert "draw_dermoscopy" not in done.stdout

    def test_a_run_without_credentials_stops_before_any_work(self, plan, tmp_path):
        directory = tmp_path / "thesis"
        done = plan("thesis", "--directory", str(directory), home=tmp_path)
        assert done.returncode != 0
        for word in ("KAGGLE_API_TOKEN", "make demo", "kaggle.com"):
            assert word in done.stdout
        assert "Traceback" not in done.stdout
        assert not (directory / "data").exists()
