"""Images that were made elsewhere, in place of a DDPM's and beside this run's."""

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from collaboration import OUTPUTS, new_project
from PIL import Image

from conftest import ROOT, SMOKE, planned
from meddiff.core.tables import read_csv
from meddiff.reporting.show import show

CLASSES = ("benign", "malignant")
TABLE = "results/generators.csv"


def overlay(path: Path, **settings: object) -> list[Path]:
    path.write_text(yaml.safe_dump(settings))
    return [SMOKE, path]


def samples_of(run: Path) -> dict[str, np.ndarray]:
    return {cls: np.load(run / f"data/images/synthetic/{cls}.npy") for cls in CLASSES}


def as_pictures(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return folder


def test_no_ddpm_is_planned_for_a_class_with_images(snakemake, tmp_path):
    pictures = as_pictures(tmp_path / "pictures", np.zeros((8, 32, 32, 3), np.uint8))
    classes = {name: {"images": str(pictures)} for name in CLASSES}
    for given, trained in ((CLASSES, 0), (CLASSES[:1], 1)):
        configs = overlay(
            tmp_path / "a.yaml", diffusion={"classes": {n: classes[n] for n in given}}
        )
        jobs = planned(snakemake(tmp_path / "run", "--dry-run", configs=configs).stdout)
        assert jobs.get("train_ddpm", 0) == jobs.get("sample", 0) == trained
        assert jobs["import_images"] == 2 * len(given) and jobs["verdict"] == 1
    configs = overlay(tmp_path / "b.yaml", generators={"gan": str(tmp_path / "absent")})
    failed = snakemake(tmp_path / "run", "--dry-run", configs=configs, check=False)
    assert failed.returncode == 1 and "Traceback" not in failed.stdout
    assert re.search(rf"generators\.gan: .*{tmp_path}/absent\b", failed.stdout)


@pytest.mark.slow
def test_images_in_place_of_ddpms_make_every_table(smoke_run, snakemake, programs, tmp_path):
    run = Path(shutil.copytree(smoke_run, tmp_path / "run"))
    samples = samples_of(run)
    np.savez(tmp_path / "malignant.npz", arr_0=samples["malignant"])
    pictures = as_pictures(tmp_path / "pictures", samples["benign"])
    paths = {"benign": str(pictures), "malignant": str(tmp_path / "malignant.npz")}
    classes = {name: {"images": path} for name, path in paths.items()}
    configs = overlay(tmp_path / "a.yaml", diffusion={"classes": classes})
    sets = [f"data/images/synthetic/{cls}.npy" for cls in CLASSES]
    snakemake(run, *sets, configs=configs)
    for cls, images in samples_of(run).items():
        np.testing.assert_array_equal(images, samples[cls])
    # The bytes are those of before, so that no net and no distance is computed again.
    jobs = planned(snakemake(run, "all", "--dry-run", configs=configs).stdout)
    nets = {"train_ddpm", "sample", "features", "distances", "similarity", "cas_arms"}
    assert jobs["import_images"] == 2 and not nets & {*jobs}
    tables = [
        "table_5_2.csv",
        "table_5_3.csv",
        "memorisation.csv",
        "verdict.csv",
        "dose_response.csv",
    ]
    made = snakemake(run, *(f"results/{name}" for name in tables), configs=configs)
    for key in ("diffusion.classes.benign.images", "diffusion.classes.malignant.images"):
        assert f"{key}: " in made.stdout and "max_synthetic_per_class is 10" in made.stdout
    for name in tables[:2]:
        before, table = (read_csv(folder / f"results/{name}") for folder in (smoke_run, run))
        kept = table.columns.drop("note")
        pd.testing.assert_frame_equal(table[kept], before[kept])
        noted = table["note"].str.contains("elsewhere", na=False)
        assert noted.any() and (table.loc[noted, "n_synthetic"] > 0).all()
    rows = read_csv(run / "results/memorisation.csv")
    assert set(rows["by"]) == {"pixels"}
    notes = read_csv(run / "results/verdict.csv")["note"]
    assert notes.str.contains("elsewhere.*: benign, malignant|chance").all()
    # Somebody without the images has their record.
    shutil.move(pictures, tmp_path / "away")
    arguments = [*(f"results/{name}" for name in tables), "--dry-run"]
    assert planned(snakemake(run, *arguments, configs=configs).stdout) == {}
    verify = [programs / "meddiff", "verify", "results/table_5_2.csv", "--directory", run]
    done = subprocess.run(
        [*verify, "--configfile", *configs], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "NOT PROVEN" not in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_own_samples_as_another_generators_get_the_same_numbers(smoke_run, snakemake, tmp_path):
    run = Path(shutil.copytree(smoke_run, tmp_path / "run"))
    samples = samples_of(run)
    np.savez(tmp_path / "malignant.npz", arr_0=samples["malignant"])
    paths = {"benign": str(as_pictures(tmp_path / "b", samples["benign"])),
            "malignant": str(tmp_path / "malignant.npz")}  # fmt: skip
    with zipfile.ZipFile(tmp_path / "noise.zip", "w") as file:
        rng = np.random.default_rng(0)
        for cls in CLASSES:
            folder = as_pictures(
                tmp_path / "n" / cls, rng.integers(0, 256, (9, 40, 40, 3), np.uint8)
            )
            for path in folder.iterdir():
                file.write(path, f"{cls}/{path.name}")
    noise = str(tmp_path / "noise.zip")
    configs = overlay(
        tmp_path / "a.yaml", generators={"z": noise, "ours": "this_run", "again": paths}
    )
    snakemake(run, TABLE, configs=configs)
    table = read_csv(run / TABLE)
    assert table["generator"].unique().tolist() == ["ours", "again", "z", "real", "noise"]
    keys = ["class", "metric", "extractor", "classifier", "arm"]
    of = {name: rows.set_index(keys) for name, rows in table.groupby("generator")}
    numbers = table.select_dtypes("number").columns.drop(
        ["difference", "difference_ci_low", "difference_ci_high"]
    )
    pd.testing.assert_frame_equal(of["ours"][numbers], of["again"][numbers], check_exact=True)
    gap = of["again"]["difference"].dropna()
    assert len(gap) and (gap == 0).all() and of["ours"]["difference"].isna().all()
    scored = {"fid", "kid", "coverage", "ssim", "ms_ssim", "copies", "accuracy"}
    assert scored <= {*of["z"].index.get_level_values("metric")}
    # The published tables have the same numbers as well.
    tables = [
        ("table_5_2", ["class", "metric", "extractor"], {"image_set": "synthetic"}),
        ("table_5_3", ["class", "metric", "classifier", "arm"], {"arm": "synthetic"}),
    ]
    for name, index, chosen in tables:
        rows = read_csv(run / f"results/{name}.csv")
        rows = rows[(rows[list(chosen)] == pd.Series(chosen)).all(axis=1)]
        again = table[table["generator"].eq("again") & table["metric"].isin(rows["metric"])]
        both = rows.merge(again[again["arm"].notna() == ("arm" in rows)], on=index)
        assert len(both) == len(rows) > 0 and (both["value_x"] == both["value_y"]).all()
    text = show(run / TABLE)
    assert all(name in text for name in ("again", "accuracy", "copies", "FID SkinLesNet"))
    # Neither another order of the generators nor another place of the files makes anything again.
    shutil.move(tmp_path / "noise.zip", tmp_path / "moved.zip")
    generators = {"again": paths, "z": str(tmp_path / "moved.zip"), "ours": "this_run"}
    configs = overlay(tmp_path / "b.yaml", generators=generators)
    assert planned(snakemake(run, TABLE, "--dry-run", configs=configs).stdout) == {}
    (tmp_path / "b/000.png").write_bytes((tmp_path / "b/001.png").read_bytes())
    jobs = planned(snakemake(run, TABLE, "--dry-run", configs=configs).stdout)
    assert jobs["import_images"] == 1 and "generator_features" in jobs
    assert not {"features", "cas_arms", "sample", "train_ddpm"} & {*jobs}


@pytest.mark.slow
def test_a_run_with_images_of_elsewhere_is_shared_and_restored(programs, tmp_path):
    """Its colleagues have the image sets, not the files that these were made of."""
    table = "metrics/similarity/synthetic.csv"
    sets = {f"data/images/synthetic/{cls}.npy" for cls in CLASSES}
    for name in (*OUTPUTS, ".snakemake"):
        (tmp_path / "nothing" / name).mkdir(parents=True)
    alice = new_project(tmp_path / "alice/project", tmp_path / "nothing", programs)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 40, 40, 3), np.uint8)
    for cls, images in zip(CLASSES, pixels, strict=True):
        as_pictures(tmp_path / "alice/pictures" / cls, images)
    classes = {cls: {"images": f"../pictures/{cls}"} for cls in CLASSES}
    alice.configure(yaml.safe_dump({"diffusion": {"classes": classes}}))
    alice.snakemake(table)
    alice.run("dvc", "remote", "add", "--quiet", "--default", "store", tmp_path / "store")
    alice.meddiff("share", table)
    alice.commit("Share")
    bob = alice.clone(tmp_path / "bob/project")
    bob.meddiff("restore", table)
    assert bob.files() == {table} and bob.dry_run(table) == {}
    bob.meddiff("restore", "--everything", table)
    assert sets <= bob.files() and bob.dry_run(table) == {}
    for path in (table, *sets):
        assert (bob.root / path).read_bytes() == (alice.root / path).read_bytes()
    [proof] = json.loads(bob.meddiff("verify", table, "--json").stdout)
    assert proof["proven"] and not proof["changed"]
    # Without the shared bytes he is sent to them, and with other images of his own he makes it new.
    (bob.root / table).unlink()
    assert f"meddiff restore {table}" in bob.snakemake(table, check=False).stdout
    for cls, images in zip(CLASSES, pixels[:, ::-1], strict=True):
        as_pictures(tmp_path / "bob/pictures" / cls, images)
    assert bob.dry_run(table).keys() == {"import_images", "similarity"}
