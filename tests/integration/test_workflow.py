"""The whole DAG at smoke scale: every table, its record, and what an edit reruns."""

import filecmp
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics import accuracy_score

from conftest import ROOT, SMOKE, planned
from meddiff.core.tables import TEXT
from meddiff.workflow.sharing.dag import open_plan
from page import NUMBERS, Page

TABLES = ("table_5_1", "table_5_2", "table_5_3", "cas_hog_svm", "dose_response")


def test_every_table_states_what_made_it(smoke_run):
    for name in TABLES:
        table = pd.read_csv(smoke_run / f"results/{name}.csv")
        assert len(table)
        for column, value in {"data": "phantom", "scale": "smoke", "protocol": "leak_free"}.items():
            assert (table[column] == value).all()
        assert {"seed"} <= set(table.columns)


def test_every_column_of_text_is_known_to_the_reader(smoke_run):
    """A column that `read_csv` does not know would be guessed at: class `1e3` as a number."""
    places = ("results", "predictions", "metrics", "cas", "models", "data/images")
    tables = [path for place in places for path in (smoke_run / place).rglob("*.csv")]
    # It holds printed numbers as they stand, and is read by people.
    for path in set(tables) - {smoke_run / "results/comparison.csv"}:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for name in set(table) - TEXT:
            values = table.loc[table[name] != "", name]
            assert values.isin(["True", "False"]).all() or len(pd.to_numeric(values)) == len(values)


def test_the_page_of_the_run_says_what_its_tables_say(smoke_run):
    page = Page((smoke_run / "results/report.html").read_text())
    page.check()
    verdict = pd.read_csv(smoke_run / "results/verdict.csv")
    judged = verdict[verdict["outcome"] != "excluded"]["classifier"].nunique()
    sentences = page.answers()
    assert len(sentences) == judged and len(page.html) < 5e6
    for line, numbers, text in sentences:
        row = verdict.iloc[line - 2]
        assert (row["question"], row["metric"]) == ("replace", "accuracy")
        assert numbers == pytest.approx([row[name] for name in NUMBERS], abs=6e-4)
        assert len(text.split()) <= 25
    assert {"near", "looks", "copies", "matrices", "data", "study"} <= set(page.values("id"))
    assert "alice" in page.text and "snakemake --cores all" not in page.text


def test_table_5_2_is_complete_and_finite(smoke_run):
    table = pd.read_csv(smoke_run / "results/table_5_2.csv")
    fid = table[table["metric"] == "fid"]
    cells = set(zip(fid["class"], fid["image_set"], fid["extractor"], strict=True))
    assert cells == {
        (cls, images, extractor)
        for cls in ("benign", "malignant")
        for images in ("synthetic", "real", "noise")
        for extractor in ("unet", "skinlesnet", "resnet50")
    }
    assert np.isfinite(table["value"]).all()
    assert (fid["value"] >= 0).all()
    cover = {"precision", "recall", "density", "coverage"}
    assert set(table["metric"]) - cover == {"ssim", "ms_ssim", "fid", "kid", "cafd"}
    scored = table[table["image_set"].eq("synthetic") & table["metric"].isin(["fid", "kid"])]
    assert scored["matched"].notna().all()
    similar = table[table["metric"].str.endswith("ssim")]
    assert similar["value"].between(-1, 1).all() and similar["std"].notna().all()
    # Coverage and its kin are of as many images as there are unseen real ones.
    by_class = table[(table["class"] != "mean") & ~table["metric"].isin(cover)]
    assert (by_class.loc[by_class["image_set"] == "synthetic", "n_synthetic"] == 8).all()
    notes = table.loc[table["extractor"] == "resnet50", "note"]
    assert notes.str.contains("scratch").all()


def test_table_5_2_agrees_with_its_features(smoke_run):
    """Recompute one FID from the saved features by the textbook form."""
    table = pd.read_csv(smoke_run / "results/table_5_2.csv").set_index(
        ["class", "image_set", "extractor", "metric"]
    )
    load = lambda kind: np.load(smoke_run / f"features/resnet50/{kind}/malignant.npy")  # noqa: E731
    a, b = load("synthetic").astype(float), load("test").astype(float)
    spread = np.cov(a.T) + np.cov(b.T) - 2 * sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(spread)
    value = table.loc[("malignant", "synthetic", "resnet50", "fid"), "value"]
    assert value == pytest.approx(expected, rel=1e-2, abs=1e-4)


def test_table_5_3_counts_its_images(smoke_run):
    table = pd.read_csv(smoke_run / "results/table_5_3.csv")
    n_train = 2 * len(np.load(smoke_run / "data/images/train/malignant.npy"))
    counts = table.groupby("arm")[["n_real", "n_synthetic"]].first()
    assert counts["n_real"].to_dict() == {
        "synthetic": 0, "matched": min(16, n_train), "real": n_train, "mixed": n_train,
        "augmented": n_train,
        "oversampled": n_train + 16, "shuffled": n_train,
    }  # fmt: skip
    assert counts["n_synthetic"].to_dict() == dict.fromkeys(counts.index, 0) | {
        "synthetic": 16, "mixed": 16,
    }  # fmt: skip
    assert table["value"].between(0, 1).all() and table["steps"].eq(8).all()
    scored = "accuracy precision recall f1 roc_auc pr_auc sensitivity specificity ece"
    assert set(table["metric"]) == set(scored.split())


def test_the_experiment_agrees_with_its_predictions(smoke_run):
    """Accuracies of every table from the predictions, by scikit-learn."""
    for name, file, keys in (
        ("table_5_3", "skinlesnet", ["arm"]),
        ("cas_hog_svm", "hog_svm", ["arm"]),
        ("dose_response", "doses", ["fraction", "ratio"]),
    ):
        table = pd.read_csv(smoke_run / f"results/{name}.csv").query("metric == 'accuracy'")
        predictions = pd.read_csv(smoke_run / f"cas/{file}.csv")
        assert predictions["repetition"].nunique() == 2
        assert set(predictions["set"]) == {"test", "validation"}
        predictions = predictions[predictions["set"] == "test"]
        for key, rows in predictions.groupby(keys if len(keys) > 1 else keys[0]):
            expected = accuracy_score(rows["label"], rows["predicted"])
            value = table.set_index(keys).loc[key, "value"]
            assert value == pytest.approx(expected, abs=1e-5), (name, key)


def test_the_test_set_shares_nothing_with_what_was_learnt(smoke_run):
    rows = {
        split: pd.concat(
            pd.read_csv(smoke_run / f"data/images/{split}/{cls}.csv", dtype=str)
            for cls in ("benign", "malignant")
        )
        for split in ("train", "validation", "test")
    }
    predictions = pd.read_csv(smoke_run / "cas/skinlesnet.csv", dtype=str)
    for split, some in predictions.groupby("set"):
        assert set(some["id"]) <= set(rows[split]["id"])
    assert not set(predictions["group"]) & set(rows["train"]["group"])
    assert (pd.read_csv(smoke_run / "results/verdict.csv")["n_shared"] == 0).all()


def test_records_lead_from_tables_to_raw_archives(smoke_run):
    """The record beside a table names the very bytes of every file behind it."""
    for name in TABLES:
        records = json.loads((smoke_run / f"results/{name}.json").read_text())
        by_path = {record["path"]: record for record in records}
        assert records[-1]["path"] == f"results/{name}.csv"
        assert any(path.startswith("data/raw/") for path in by_path)
        for path, record in by_path.items():
            digest = hashlib.sha256((smoke_run / path).read_bytes()).hexdigest()
            assert digest == record["sha256"], path
            assert all(by_path[file]["sha256"] == was for file, was in record["inputs"].items())
            assert record["packages"]["torch"] and record["author"].startswith("alice")


def test_no_group_crosses_splits(smoke_run):
    split = pd.read_csv(smoke_run / "data/images/split.csv", dtype=str)
    kept = split.dropna(subset=["split"])
    for key in ("group", "patient", "pixels_sha256"):
        assert (kept.dropna(subset=[key]).groupby(key)["split"].nunique() == 1).all()


def test_image_sets_hold_the_selected_images(smoke_run):
    split = pd.read_csv(smoke_run / "data/images/split.csv", dtype=str)
    for cls in ("benign", "malignant"):
        packed = pd.read_csv(smoke_run / f"data/images/train/{cls}.csv")
        wanted = split[
            (split["split"] == "train") & (split["label"] == cls) & (split["selected"] == "True")
        ]
        assert set(packed["id"]) == set(wanted["id"])
        assert len(np.load(smoke_run / f"data/images/train/{cls}.npy")) == len(packed)


def test_a_finished_run_plans_nothing(smoke_run, snakemake):
    assert planned(snakemake(smoke_run, "all", "--dry-run").stdout) == {}


def test_without_a_target_everything_is_planned(snakemake, tmp_path):
    jobs = planned(snakemake(tmp_path, "--dry-run").stdout)
    assert jobs == planned(snakemake(tmp_path, "all", "--dry-run").stdout)
    assert jobs["train_ddpm"] == 2


def test_every_job_is_tied_to_the_code_of_its_script(tmp_path):
    """`code` is what makes an edited script or module rerun its jobs."""
    arguments = ["all", "--directory", str(tmp_path), "--configfile", str(SMOKE)]
    with open_plan(arguments) as plan:
        steps = [step for step in plan.steps if step.outputs]
    assert {"train_ddpm", "table_5_2"} <= {step.rule for step in steps}
    assert all(step.params["code"] for step in steps)


def test_a_download_is_judged_by_its_checksum_whatever_code_fetched_it(tmp_path):
    config = ROOT / "config/thesis.yaml"
    arguments = ["index", "--directory", str(tmp_path), "--configfile", str(config)]
    with open_plan(arguments) as plan:
        downloads = [step for step in plan.steps if step.rule == "download"]
    assert downloads
    assert all("code" not in step.params for step in downloads)


@pytest.mark.slow
def test_snakemakes_own_report_holds_every_item_and_the_page(smoke_run, snakemake, tmp_path):
    snakemake(smoke_run, "all", "--report", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    shown = [
        path.relative_to(smoke_run).as_posix()
        for path in (smoke_run / "results").rglob("*")
        if path.suffix in (".csv", ".png", ".html")
    ]
    assert len(shown) > 40 and [path for path in shown if path not in text] == []


@pytest.mark.slow
def test_a_run_ends_with_where_its_page_is(smoke_run, snakemake):
    done = snakemake(smoke_run, "results/report.html", "--forcerun", "report_page")
    (line,) = [line for line in done.stdout.splitlines() if line.endswith("/results/report.html")]
    assert Path(line.split(": ")[-1]).samefile(smoke_run / "results/report.html")


@pytest.mark.slow
def test_the_studys_protocol_compares_with_all_real_images(smoke_run, snakemake, tmp_path):
    overlay = tmp_path / "study.yaml"
    overlay.write_text("protocol: as_published\n")
    snakemake(tmp_path, "results/table_5_2.csv", configs=[SMOKE, overlay])
    table = pd.read_csv(tmp_path / "results/table_5_2.csv")
    assert (table["protocol"] == "as_published").all()
    fid = table[table["metric"] == "fid"]
    assert set(fid["image_set"]) == {"synthetic", "noise", "real"}
    assert set(fid["reference"]) == {"train+validation+test"}
    every = sum(
        len(np.load(tmp_path / f"data/images/{split}/benign.npy"))
        for split in ("train", "validation", "test")
    )
    benign = fid[fid["class"] == "benign"].set_index("image_set")["n_real"]
    assert (benign["synthetic"] == every).all() and (benign["real"] == every).all()
    assert (benign["noise"] == every - min(8, every // 2)).all()


@pytest.mark.slow
def test_real_images_alone(smoke_run, snakemake, tmp_path):
    """Without a DDPM: what is of real images alone is the same to the bit."""
    overlay = tmp_path / "real.yaml"
    overlay.write_text("real_only: true\n")
    snakemake(tmp_path, "all", configs=[SMOKE, overlay])
    assert not (tmp_path / "models/ddpm").exists()
    assert not (tmp_path / "data/images/synthetic").exists()
    names = ["metrics/similarity/real.csv", "results/table_5_1.csv", "results/audit/archives.csv"]
    assert_same_bytes(smoke_run, tmp_path, names)
    fids = pd.read_csv(tmp_path / "results/table_5_2.csv").query("metric == 'fid'")
    assert set(fids["image_set"]) == {"real", "noise"}
    keys = ["classifier", "arm", "metric", "class"]
    ours, all_arms = (
        pd.read_csv(run / "results/table_5_3.csv").set_index(keys) for run in (tmp_path, smoke_run)
    )
    assert set(ours.index.get_level_values("arm")) == {"real", "shuffled"}
    assert ours["value"].equals(all_arms.loc[ours.index, "value"])
    overlay.write_text("metrics: {ssim_images: 5}\n")
    snakemake(tmp_path, "metrics/similarity/real.csv", configs=[SMOKE, overlay])
    similar = pd.read_csv(tmp_path / "metrics/similarity/real.csv")
    assert (similar["n_real"] == 5).all()


def assert_same_bytes(one: Path, other: Path, names: list[str]) -> None:
    assert [name for name in names if filecmp.cmp(one / name, other / name, shallow=False)] == names


def test_the_same_seed_gives_the_same_bits(smoke_run, snakemake, tmp_path):
    """On another number of cores: a DDPM, its samples and their similarity."""
    names = ["metrics/similarity/synthetic.csv", "models/ddpm/benign_history.csv"]
    snakemake(tmp_path, *names, "--cores", "1")
    assert_same_bytes(smoke_run, tmp_path, names)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_table_has_the_same_bits_in_a_plain_run(smoke_run, snakemake, tmp_path):
    """One process a job, as users run it; the smoke run's are forks of a warm one."""
    program = Path(sys.executable).with_name("snakemake")
    snakemake(tmp_path, "all", "--cores", "1", program=program)
    names = [str(path.relative_to(smoke_run)) for path in smoke_run.glob("results/**/*.csv")]
    assert len(names) > 20
    assert_same_bytes(smoke_run, tmp_path, names)
