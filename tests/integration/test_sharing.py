"""Two collaborators and a DVC remote: share, restore, edit, share again, and what can go wrong."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from collaboration import (
    TABLE,
    Clone,
    downstream,
    edited_outputs,
    new_project,
    planned_outputs,
)

from conftest import ROOT
from meddiff.workflow.sharing.plan import PlanStep

slow = pytest.mark.slow

BUNDLE = {TABLE, "results/table_5_2.json", "results/metrics/table_5_2.json"}
SIMILARITY = {f"metrics/similarity/{images}.csv" for images in ("synthetic", "real")}


@pytest.fixture(scope="module")
def alice(smoke_run, programs, tmp_path_factory) -> Clone:
    """Who made the run and shared it."""
    folder = tmp_path_factory.mktemp("sharing")
    project = new_project(folder / "alice", smoke_run, programs)
    project.run("dvc", "remote", "add", "--quiet", "--default", "store", folder / "store")
    assert project.planned() == {}
    project.meddiff("share")
    project.commit("Share")
    return project


@pytest.fixture
def bob(alice, tmp_path) -> Clone:
    """Who has just cloned; the remote is a copy, which a test may harm."""
    clone = alice.clone(tmp_path / "bob")
    shutil.copytree(store_of(alice), tmp_path / "store")
    clone.run("dvc", "remote", "modify", "--local", "store", "url", tmp_path / "store")
    return clone


@pytest.fixture(scope="module")
def whole(alice, tmp_path_factory) -> Clone:
    """A clone with everything restored; tests leave it as it was."""
    clone = alice.clone(tmp_path_factory.mktemp("whole") / "carol")
    clone.meddiff("restore", "--everything")
    return clone


REBUILT = """
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from meddiff.workflow.provenance.recording import describe_file
from meddiff.workflow.provenance.store import LOCAL, SHARED, read_records, write_record
path, text = sys.argv[1:]
Path(path).write_text(text)
shared = read_records(SHARED)[path]
metadata = shared.model_dump(include={"rule", "inputs", "params", "packages", "snakemake"})
write_record(describe_file(path, **metadata), LOCAL)
"""
"""Puts other bytes in the place of a file as a rebuild on another machine would."""


def store_of(clone: Clone) -> Path:
    return Path(clone.run("dvc", "config", "remote.store.url").stdout.strip())


def object_of(clone: Clone, path: str) -> Path:
    """Where the remote keeps the bytes of a file."""
    md5 = json.loads((clone.root / f"provenance/{path}.json").read_text())["md5"]
    return store_of(clone) / "files/md5" / md5[:2] / md5[2:]


def rewrite(file: Path, content: bytes) -> None:
    """Write bytes to an object of DVC, which keeps them read-only."""
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(0o444)


class TestRestore:
    def test_a_clone_that_forgot_to_pull_trains_nothing(self, bob):
        done = bob.snakemake(TABLE, check=False)
        assert done.returncode != 0
        assert f"`meddiff restore {TABLE}`" in done.stdout
        assert bob.files() == set()

    def test_a_table_comes_back_alone_and_nothing_is_planned(self, bob):
        output = bob.meddiff("restore", TABLE).stdout
        assert bob.files() == BUNDLE and re.search(rf"nothing .*{TABLE}", output)
        assert bob.planned(TABLE) == {} == bob.dry_run(TABLE)
        assert "Nothing to be done" in bob.snakemake(TABLE).stdout

    def test_what_an_edit_needs_is_named_fetched_and_enough(self, bob):
        bob.meddiff("restore", TABLE)
        bob.configure("metrics: {ssim: {sigma: 1.2}}")
        stopped = bob.snakemake(TABLE, check=False)
        assert stopped.returncode != 0 and f"meddiff restore {TABLE}" in stopped.stdout
        assert bob.files() == BUNDLE
        bob.meddiff("restore", TABLE)
        assert planned_outputs(bob.steps(TABLE)) == BUNDLE | SIMILARITY
        assert not any(path.startswith(("data/raw", "models/ddpm")) for path in bob.files())
        before = pd.read_csv(bob.root / TABLE)
        bob.snakemake(TABLE)
        after = pd.read_csv(bob.root / TABLE)
        changed = before["value"] != after["value"]
        assert set(before["metric"][changed]) == {"ssim"}
        assert "alice" in (output := bob.meddiff("verify", TABLE).stdout) and "bob" in output

    @slow
    def test_a_refused_rebuild_can_be_demanded_and_gives_the_same_bytes(self, alice, bob):
        target = "data/images/split.csv"
        assert bob.snakemake(target, check=False).returncode != 0
        bob.snakemake(target, "--config", "rebuild=true")
        assert (bob.root / target).read_bytes() == (alice.root / target).read_bytes()
        assert re.search("bit-identical .*alice", bob.meddiff("verify", target).stdout)
        assert bob.planned(target) == {}

    @slow
    def test_a_plain_pull_is_as_good(self, bob):
        bob.run("dvc", "pull")
        assert bob.planned() == {}


EDITS = {
    "diffusion.steps": ("diffusion: {steps: 7}", ["models/ddpm/*"]),
    "diffusion of one class": (
        "diffusion: {classes: {benign: {epochs: 2}}}",
        ["models/ddpm/benign*"],
    ),
    "two values swapped": (
        "data: {phantom: {segmentation_train: 6, segmentation_test: 16}}",
        ["data/raw/phantom/isic/2016/*"],
    ),
    "sampling.images": (
        "sampling: {images: 9}",
        [
            "data/images/synthetic/*",
            "data/images/more/*",
            "data/images/noise/*",
            "results/matrices/*.csv",
        ],
    ),
    "sampling.eta": (
        "sampling: {eta: 0.5}",
        [
            "data/images/synthetic/*",
            "data/images/more/*",
            "results/figures/ddpm/*",
            "results/samples/*",
        ],
    ),
    "compute": (
        "compute: {threads: 2, device: auto, processes: 2, compile: true, tensorboard: true}",
        [],
    ),
    "metrics.ssim": (
        "metrics: {ssim: {sigma: 1.2}}",
        ["metrics/similarity/*", "results/matrices/*ssim.csv"],
    ),
    "extractors.unet": ("extractors: {unet: {steps: 5}}", ["models/unet*", "predictions/unet.csv"]),
    "extractors.pretrained": (
        "extractors: {pretrained: [radimagenet]}",
        [
            "results/report.html",
            "models/pretrained/radimagenet.safetensors",
            "features/radimagenet/*",
            "metrics/distances/radimagenet.csv",
            "results/matrices/*",
            "results/*table_5_2.*",
            # Copies are searched for in its features, too.
            "results/memorisation.csv",
            "results/figures/memorisation.png",
        ],
    ),
    "cas.batch_size": ("cas: {batch_size: 8}", ["cas/doses.csv", "cas/skinlesnet.csv"]),
    "cas.n_repeats": ("cas: {n_repeats: 3}", ["cas/hog_svm.csv", "cas/skinlesnet.csv"]),
    "cas.hog_svm": ("cas: {hog_svm: {folds: 3}}", ["cas/hog_svm.csv"]),
    "cas.dose": ("cas: {dose: {ratios: [0, 0.5]}}", ["cas/doses.csv", "results/*dose_response.*"]),
    "cas.dose.max_synthetic_per_class": (
        "cas: {dose: {max_synthetic_per_class: 9}}",
        ["data/images/more/*"],
    ),
    "cas.non_inferiority_margin": ("cas: {non_inferiority_margin: 0.1}", ["results/verdict.*"]),
    "cas.arms": ("cas: {arms: [real, synthetic]}", ["cas/hog_svm.csv", "cas/skinlesnet.csv"]),
    "data.mirrors": ("data: {mirrors: {'https://x': 'https://y'}}", []),
    "audit.encoding": ("audit: {encoding: {quality: 80}}", ["results/audit/encoding.csv"]),
    "scale": ("scale: other", ["results/*"]),
    "what another source reads": ("data: {folder: {name: mine}}", []),
}
"""What an edit of the configuration changes itself, as patterns of outputs."""
EDITS_OF_EACH_KIND = (
    "diffusion of one class",
    "two values swapped",
    "compute",
    "sampling.eta",
    "metrics.ssim",
    "extractors.pretrained",
    "cas.dose",
    "audit.encoding",
)


@pytest.fixture(scope="module")
def steps(whole) -> tuple[PlanStep, ...]:
    """The jobs of the unedited project."""
    return whole.steps()


@pytest.fixture(scope="module")
def own_steps(whole) -> tuple[PlanStep, ...]:
    """The same as the project's own library plans them."""
    return whole.edited.steps()


def check_rerun(
    before: Sequence[PlanStep], after: Sequence[PlanStep], patterns: Sequence[str]
) -> None:
    """Check that an edit changes what it names, and reruns that and what is downstream, no more."""
    edited = edited_outputs(before, after)
    matches = {path: [p for p in patterns if fnmatch(path, p)] for path in edited}
    assert [path for path, names in matches.items() if not names] == []
    assert {name for names in matches.values() for name in names} == set(patterns)
    assert planned_outputs(after) == downstream(after, edited)


def slow_but(quick: Sequence[str], names: Iterable[str]) -> list[Any]:
    """Return names as parameters of tests, slow but for some."""
    return [name if name in quick else pytest.param(name, marks=slow) for name in names]


@pytest.mark.parametrize("name", slow_but(EDITS_OF_EACH_KIND, EDITS))
def test_an_edited_value_reruns_what_depends_on_it(whole, steps, name):
    overlay, patterns = EDITS[name]
    whole.configure(overlay)
    try:
        check_rerun(steps, whole.steps(), patterns)
    finally:
        whole.git("checkout", "--", ".")


LINE = ("\n\n\n", "\n\n\nEXTRA = 1\n\n\n")
CODE = {
    "a comment in the configuration": ("config/config.yaml", "scale:", "# ours\nscale:", []),
    "a comment in a script": ("workflow/scripts/sample.py", "with job", "# ours\nwith job", []),
    "a docstring": ("src/meddiff/diffusion/training/loop.py", '"""', '"""More. ', []),
    "a module that only reports": (
        "src/meddiff/core/progress.py", "import", "import sys\nimport", [],
    ),
    "a script": (
        "workflow/scripts/distances.py", "with job(", "extra = 1\nwith job(",
        ["metrics/distances/*"],
    ),
    "a metric's module": (
        "src/meddiff/metrics/structural.py", *LINE,
        ["metrics/similarity/*", "results/matrices/*ssim.csv"],
    ),
    "the sampler's module": (
        "src/meddiff/diffusion/sampling/sample.py", *LINE,
        ["data/images/synthetic/*", "data/images/more/*", "results/figures/ddpm/*",
         "results/samples/*", "results/memorisation.csv", "results/figures/memorisation.png"],
    ),
    "a rule's parameter": (
        "src/meddiff/workflow/parameters.py", '"distances": ', '"distances": {"more": 1} | ',
        ["metrics/distances/*"],
    ),
    "a rule's resources": ("workflow/rules/diffusion.smk", 'runtime="2d"', 'runtime="3d"', []),
}  # fmt: skip


@pytest.mark.parametrize("name", CODE)
def test_the_text_to_be_edited_stands_in_the_project(name):
    """What only the slow lane edits is missed by the quick one as soon as it is moved."""
    file, old, new, _ = CODE[name]
    assert old in (ROOT / file).read_text() and old != new


@pytest.mark.parametrize("name", slow_but(["a docstring", "a metric's module"], CODE))
def test_edited_code_reruns_what_runs_it(whole, own_steps, name):
    file, old, new, patterns = CODE[name]
    whole.edit(file, old, new)
    try:
        check_rerun(own_steps, whole.edited.steps(), patterns)
    finally:
        whole.git("checkout", "--", ".")


def test_a_comparison_shows_every_run_of_the_project(whole):
    """Beside the study's numbers: this run's, and those of a run directory, with its scale."""
    mine = pd.read_csv(whole.root / TABLE)
    other = whole.root / "runs/elsewhere" / TABLE
    other.parent.mkdir(parents=True)
    mine.assign(scale="elsewhere", value=mine["value"] + 1).to_csv(other, index=False)
    hands = mine[mine["class"].eq("benign") & mine["metric"].eq("ssim")]
    hands = hands.assign(**{"class": "hand", "data": "mednist"})
    black = hands.assign(subset="black_background", value=hands["value"] / 2)
    other = whole.root / "runs/hands" / TABLE
    other.parent.mkdir(parents=True)
    pd.concat([hands, black]).to_csv(other, index=False)
    try:
        whole.snakemake("results/comparison.csv")
        comparison = pd.read_csv(whole.root / "results/comparison.csv")
    finally:
        shutil.rmtree(whole.root / "runs")
    cell = comparison[comparison["cell"].eq("malignant, synthetic, fid, unet")].set_index("run")
    assert cell["reported"].astype(float).tolist() == [2350.8118] * 2
    assert cell["scale"].to_dict() == {"this run": "smoke", "elsewhere": "elsewhere"}
    expected = mine.query("extractor == 'unet' and metric == 'fid'").set_index(
        ["class", "image_set"]
    )
    columns = ["value", "ci_low", "dimension", "n_synthetic"]
    row = expected.loc[("malignant", "synthetic")]
    assert cell.loc["this run", columns].astype(float).tolist() == row[columns].tolist()
    assert float(cell.loc["elsewhere", "value"]) == pytest.approx(row["value"] + 1)
    for subset, rows in (("", hands), (", black_background", black)):
        cell = comparison[comparison["cell"] == f"hand, synthetic, ssim{subset}"]
        cell = cell[cell["column"] == "value"]
        assert cell["run"].tolist() == ["hands"] and cell["data"].tolist() == ["mednist"]
        value = rows.loc[rows["image_set"] == "synthetic", "value"].item()
        assert float(cell["value"].item()) == pytest.approx(value)
    assert set(comparison["table"]) > {"table_5_1", "table_5_3", "cas_hog_svm"}
    assert whole.planned() == {}


@slow
def test_after_restoring_a_table_alone_an_edit_is_seen_as_well(bob):
    """Records stand for the files that are not here."""
    bob.meddiff("restore", TABLE)
    bob.edit("src/meddiff/metrics/structural.py", "\n\n\n", "\n\n\nEXTRA = 1\n\n\n")
    bob.edited.meddiff("restore", TABLE)
    assert planned_outputs(bob.edited.steps(TABLE)) == BUNDLE | SIMILARITY


@slow
class TestTwoSharers:
    def test_a_second_share_reaches_the_first_sharer(self, alice, tmp_path):
        """Bob changes a metric and shares; Alice pulls, and gets his table without computing."""
        first = alice.clone(tmp_path / "first")
        first.meddiff("restore", "--everything", TABLE)
        bob = alice.clone(tmp_path / "bob")
        bob.configure("metrics: {ssim: {sigma: 1.2}}")
        bob.meddiff("restore", TABLE)
        assert "still planned" in bob.fails("share", TABLE)
        bob.snakemake(TABLE)
        bob.meddiff("share", TABLE)
        bob.commit("Share a wider window")
        changed = bob.git("diff", "--name-only", "HEAD~1").splitlines()
        assert f"provenance/{TABLE}.json" in changed
        assert "provenance/models/ddpm/benign.safetensors.json" not in changed
        assert "provenance/cas/skinlesnet.csv.json" not in changed
        first.git("pull", "--quiet", str(bob.root), "main")
        stopped = first.snakemake(TABLE, check=False)
        assert stopped.returncode != 0 and f"meddiff restore {TABLE}" in stopped.stdout
        assert "results/samples" not in str(first.planned("results/samples/benign.png"))
        output = first.meddiff("restore", TABLE).stdout
        assert ".snakemake/meddiff/replaced/" in output
        assert first.planned(TABLE) == {}
        assert (first.root / TABLE).read_bytes() == (bob.root / TABLE).read_bytes()

    def test_a_merge_of_two_shares_mixes_no_records(self, alice, tmp_path):
        """Two metrics changed apart and shared; git must not make one record of both tables."""
        for name, overlay in (("bob", "{ssim: {sigma: 1.2}}"), ("judy", "{ms_ssim: {sigma: 1.2}}")):
            clone = alice.clone(tmp_path / name)
            clone.configure(f"metrics: {overlay}")
            clone.meddiff("restore", TABLE)
            clone.snakemake(TABLE)
            clone.meddiff("share", TABLE)
            clone.commit(f"Share as {name}")
        bob, judy = (replace(alice, root=tmp_path / name) for name in ("bob", "judy"))
        bob.run("git", "pull", "--quiet", "--no-rebase", judy.root, "main", check=False)
        conflicts = bob.git("diff", "--name-only", "--diff-filter=U").splitlines()
        assert {f"provenance/{TABLE}.json", "dvc.lock"} <= set(conflicts)
        bob.git("checkout", "--ours", "--", *conflicts)
        bob.commit("Take ours")
        bob.git("checkout", "HEAD~1", "--", "config")
        assert bob.planned(TABLE) == {}
        assert re.search("bit-identical .*bob", bob.meddiff("verify", TABLE).stdout)

    def test_runs_of_other_configurations_live_side_by_side(self, alice, tmp_path):
        target = "data/images/split.csv"
        bob = alice.clone(tmp_path / "bob")
        (bob.root / "config/other.yaml").write_text("seed: 1\n")
        other = ("--directory", "runs/other", "--configfile", "config/other.yaml")
        bob.snakemake(target, *other)
        assert bob.files() == set() and not (bob.root / ".snakemake/metadata").exists()
        bob.meddiff("share", target, *other)
        bob.commit("Share another seed")
        carol = bob.clone(tmp_path / "carol")
        carol.meddiff("restore", target, *other)
        carol.meddiff("restore", target)
        first, second = carol.root / target, carol.root / "runs/other" / target
        assert first.read_bytes() == (alice.root / target).read_bytes()
        assert second.read_bytes() == (bob.root / "runs/other" / target).read_bytes()
        assert first.read_bytes() != second.read_bytes()
        assert carol.planned(target) == {} == carol.planned(target, *other)


@slow
class TestOneWorkingTree:
    def test_edit_run_and_revert_comes_back(self, bob):
        bob.meddiff("restore", TABLE)
        shared = (bob.root / TABLE).read_bytes()
        bob.configure("metrics: {ssim: {sigma: 1.2}}")
        bob.meddiff("restore", TABLE)
        bob.snakemake(TABLE)
        bob.git("checkout", "--", "config")
        stopped = bob.snakemake(TABLE, check=False)
        assert stopped.returncode != 0 and f"meddiff restore {TABLE}" in stopped.stdout
        bob.meddiff("restore", TABLE)
        assert bob.planned(TABLE) == {} and (bob.root / TABLE).read_bytes() == shared

    def test_a_rebuilt_file_stays_until_it_is_to_be_replaced(self, bob):
        """A rebuild with other bytes, as on another machine: verify compares, nothing blocks."""
        target = "results/table_5_3.csv"
        bob.meddiff("restore", "--everything", target)
        file = bob.root / "cas/skinlesnet.csv"
        record = bob.root / ".snakemake/meddiff/records/cas/skinlesnet.csv.json"
        rows = pd.read_csv(file, dtype=str, keep_default_na=False)
        other = {"benign": "malignant", "malignant": "benign"}
        rows.loc[0, "label"] = other[rows.at[0, "label"]]
        text = rows.to_csv(index=False)
        file.unlink()
        record.unlink()
        bob.run("python", "-c", REBUILT, file.relative_to(bob.root), text)
        (bob.root / target).unlink()
        bob.snakemake(target, "--config", "rebuild=true")
        output = bob.meddiff("verify", target).stdout
        assert re.search("differs .*alice", output) and "accuracy" in output
        assert bob.planned(target) == {}
        bob.meddiff("restore", target)
        assert "bit-identical" in bob.meddiff("verify", target).stdout
        assert bob.planned(target) == {}

    def test_lost_metadata_come_back_from_records(self, bob):
        bob.meddiff("restore", TABLE)
        shutil.rmtree(bob.root / ".snakemake/metadata")
        bob.configure("scale: other")
        bob.meddiff("restore", TABLE)
        assert planned_outputs(bob.steps(TABLE)) == BUNDLE

    def test_rebuild_false_allows_nothing(self, bob):
        done = bob.snakemake(TABLE, "--config", "rebuild=false", check=False)
        assert done.returncode != 0 and bob.files() == set()

    def test_raw_archives_may_stay_at_home(self, alice, tmp_path):
        host = alice.clone(tmp_path / "host")
        target = "data/images/split.csv"
        host.meddiff("restore", "--everything", target)
        host.run("dvc", "remote", "add", "--quiet", "open", tmp_path / "open")
        host.meddiff("share", target, "--without-raw", "--prune", "--remote", "open")
        host.commit("Share without raw archives")
        guest = host.clone(tmp_path / "guest")
        guest.meddiff("restore", target, "--remote", "open")
        assert guest.files() == {target} and guest.planned(target) == {}
        assert "data/raw/phantom/kaggle/2018.zip" in guest.meddiff("verify", target).stdout
        assert "data/raw" in guest.fails("restore", target, "--everything", "--remote", "open")

    def test_the_root_shares_its_own_configuration_only(self, bob):
        overlay = bob.root / "other.yaml"
        overlay.write_text("seed: 0\n")
        assert "runs/<name>" in bob.fails("share", TABLE, "--configfile", overlay)


class TestMishaps:
    def test_a_share_while_work_is_planned_changes_nothing(self, bob):
        bob.meddiff("restore", TABLE)
        bob.configure("seed: 3")
        assert "still planned" in bob.fails("share", TABLE)
        assert bob.git("status", "--short") == "M config/config.yaml"

    @slow
    def test_touching_hides_no_edit(self, bob):
        """`--touch` makes Snakemake take files for new, both shared ones and one's own."""
        bob.meddiff("restore", "--everything", TABLE)
        bob.configure("scale: other")
        bob.snakemake(TABLE, "--touch")
        assert planned_outputs(bob.steps(TABLE)) == BUNDLE
        bob.snakemake(TABLE)
        bob.configure("scale: third")
        bob.snakemake(TABLE, "--touch")
        assert planned_outputs(bob.steps(TABLE)) == BUNDLE
        assert "still planned" in bob.fails("share", TABLE)

    @pytest.mark.parametrize(
        ("harm", "words"),
        [
            (lambda good: good[:100] + bytes([good[100] ^ 1]) + good[101:], "other bytes"),
            pytest.param(lambda good: good + b"\0" * 10_000_000, "too long", marks=slow),
            pytest.param(lambda good: good[:-7], "lacks 7 bytes", marks=slow),
            pytest.param(lambda good: b"", "lacks", marks=slow),
        ],
    )
    def test_bytes_that_the_remote_changed_are_refused(self, bob, harm, words):
        stored = object_of(bob, TABLE)
        good = stored.read_bytes()
        rewrite(stored, harm(good))
        output = bob.fails("restore", TABLE)
        assert words in output and TABLE in output
        assert TABLE not in bob.files()
        rewrite(stored, good)
        bob.meddiff("restore", TABLE)
        assert bob.planned(TABLE) == {}

    @slow
    def test_a_corrupted_cache_object_is_refused(self, bob):
        bob.run("dvc", "fetch")
        stored = object_of(bob, TABLE)
        cached = bob.root / ".dvc/cache/files/md5" / stored.parent.name / stored.name
        rewrite(cached, cached.read_bytes()[::-1])
        output = bob.fails("restore", TABLE)
        assert ".dvc/cache" in output and TABLE not in bob.files()
        cached.unlink()
        bob.meddiff("restore", TABLE)

    @slow
    def test_a_plain_pull_of_changed_bytes_stops_by_name(self, bob):
        stored = object_of(bob, TABLE)
        rewrite(stored, stored.read_bytes()[::-1])
        bob.run("dvc", "pull", TABLE)
        done = bob.snakemake(TABLE, check=False)
        assert done.returncode != 0 and f"`meddiff restore --replace {TABLE}`" in done.stdout

    @slow
    def test_an_object_that_is_not_there_is_named(self, bob):
        stored = object_of(bob, TABLE)
        aside = stored.with_suffix(".aside")
        stored.rename(aside)
        assert TABLE in (output := bob.fails("restore", TABLE)) and "meddiff share" in output
        aside.rename(stored)
        bob.meddiff("restore", TABLE)

    @slow
    def test_a_remote_that_is_not_there_is_named(self, alice, tmp_path):
        bob = alice.clone(tmp_path / "bob")
        bob.run("dvc", "remote", "modify", "--local", "store", "url", tmp_path / "nowhere")
        assert "nowhere" in bob.fails("restore", TABLE)
        bob.run("dvc", "remote", "remove", "store")
        assert "dvc remote add" in bob.fails("restore", TABLE)
        assert bob.files() == set()

    @slow
    def test_an_interrupted_restore_goes_on_where_it_stopped(self, alice, bob):
        command = [sys.executable, "-m", "meddiff.cli", "restore", "--everything"]
        env = {**os.environ, "PYTHONPATH": str(bob.root / "src")}
        with subprocess.Popen(
            command, cwd=bob.root, env=env, stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout:
                if line.startswith("[12/"):
                    process.send_signal(signal.SIGKILL)
                    break
        partial = {path for path in bob.files() if not Path(path).name.startswith(".")}
        assert 10 < len(partial) < len(alice.files())
        for path in partial:
            assert (bob.root / path).read_bytes() == (alice.root / path).read_bytes()
        bob.meddiff("restore", "--everything")
        assert bob.planned() == {}

    @pytest.mark.parametrize(
        ("path", "harm"),
        [
            ("models/ddpm/benign.safetensors", lambda good: good[:-1] + bytes([good[-1] ^ 1])),
            pytest.param("results/table_5_2.csv", lambda good: b"", marks=slow),
            pytest.param("data/raw/phantom/kaggle/2018.zip", lambda good: good[::-1], marks=slow),
        ],
    )
    def test_a_tampered_artefact_stops_by_name_and_comes_back(self, whole, path, harm):
        file = whole.root / path
        good = file.read_bytes()
        file.write_bytes(harm(good))
        done = whole.snakemake("--dry-run", check=False)
        assert done.returncode != 0 and "Traceback" not in done.stdout
        assert f"`meddiff restore --replace {path}`" in done.stdout
        assert path in whole.fails("restore", TABLE)
        output = whole.meddiff("restore", "--replace", path).stdout
        assert ".snakemake/meddiff/replaced/" in output and file.read_bytes() == good
        assert whole.planned() == {}

    @slow
    def test_a_file_from_elsewhere_is_no_result(self, bob):
        """A checkpoint put there by hand is neither used nor overwritten."""
        bob.meddiff("restore", TABLE)
        strange = bob.root / "cas/skinlesnet.csv"
        strange.parent.mkdir()
        strange.write_text("label,predicted\n")
        shutil.rmtree(bob.root / "provenance/cas")
        bob.commit("Forget the classifiers")
        done = bob.snakemake("results/table_5_3.csv", check=False)
        assert done.returncode != 0 and strange.read_text() == "label,predicted\n"

    @slow
    def test_a_record_that_names_a_file_outside_is_refused(self, bob):
        file = bob.root / f"provenance/{TABLE}.json"
        file.write_text(file.read_text().replace(f'"path": "{TABLE}"', '"path": "../x"'))
        done = bob.snakemake(TABLE, check=False)
        assert done.returncode != 0
        assert re.search(rf"provenance/{TABLE}\.json: .*git checkout", done.stdout)


class TestVerify:
    def test_every_cell_is_traced_to_the_raw_archives(self, whole):
        [answer] = json.loads(whole.meddiff("verify", TABLE, "--json").stdout)
        assert answer["proven"] and not answer["changed"]
        table = pd.read_csv(whole.root / TABLE)
        assert len(answer["cells"]) == len(table)
        for cell in answer["cells"]:
            behind = set(cell["behind"])
            assert any(path.startswith("data/raw/phantom/kaggle") for path in behind)
            of = ["benign", "malignant"] if cell["class"] == "mean" else [cell["class"]]
            ddpms = {f"models/ddpm/{cls}.safetensors" for cls in of}
            nets = {path for path in behind if fnmatch(path, "models/ddpm/*.safetensors")}
            assert nets == (ddpms if cell["image_set"] == "synthetic" else set())
            assert ("models/unet.safetensors" in behind) == (cell["extractor"] == "unet")

    def test_a_table_alone_is_proven_by_its_records(self, bob):
        bob.meddiff("restore", TABLE)
        output = bob.meddiff("verify", TABLE).stdout
        assert f"{TABLE}: proven" in output and "sha256" in output and "alice@example.org" in output
        assert "torch" in output and "seed" in output and "1 thread" in output

    def test_what_a_rebuild_would_change_is_named_by_cell(self, whole):
        cell = "class=benign,image_set=synthetic,metric=ms_ssim"
        whole.configure("metrics: {ms_ssim: {sigma: 1.2}}")
        try:
            [answer] = json.loads(whole.meddiff("verify", TABLE, "--json").stdout)
            output = whole.meddiff("verify", TABLE, "--cell", cell).stdout
        finally:
            whole.git("checkout", "--", ".")
        reason = "similarity settings.ms_ssim.sigma: 1.5 -> 1.2"
        assert set(answer["changed"]) == SIMILARITY and reason in output
        assert all(reasons == [reason] for reasons in answer["changed"].values())
        ends = ("made again", "the same")
        [line] = [line for line in output.splitlines() if line.rstrip().endswith(ends)]
        assert "ms_ssim" in line and "made again" in line
        assert "metrics/similarity/synthetic.csv" in output and "settings" in output

    @slow
    def test_bit_rot_that_keeps_size_and_time_is_seen(self, bob):
        bob.meddiff("restore", TABLE)
        file = bob.root / TABLE
        status = file.stat()
        with file.open("r+b") as handle:
            handle.seek(-3, os.SEEK_END)
            handle.write(b"9")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        done = bob.meddiff("verify", TABLE, check=False)
        assert done.returncode == 1 and "NOT PROVEN" in done.stdout
