"""The workflow inside workflows of other people, from any folder."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import meddiff
from conftest import ROOT, SMOKE, planned

INDEX = "data/images/index.csv"
Outer = Callable[..., subprocess.CompletedProcess]

THEIRS = """
configfile: "config/config.yaml"

module meddiff:
    snakefile: {snakefile!r}
    config: config["images"]

use rule * from meddiff as meddiff_*

rule summary:
    default_target: True
    input: "data/images/index.csv"
    output: "results/summary.txt"
    shell: "wc -l < {{input}} > {{output}}"

onsuccess:
    print("their own hook")
    meddiff.onsuccess()
"""
ADDRESS = "https://github.com/example/meddiff"


@pytest.fixture
def outer(programs: Path, tmp_path: Path) -> Outer:
    """Return a function that runs Snakemake in a project of somebody else: (*arguments)."""

    def run(
        *arguments: str, folder: Path = tmp_path / "theirs", check: bool = True
    ) -> subprocess.CompletedProcess:
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(
            [programs / "snakemake", "--cores", "2", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-6000:]
        return done

    return run


def write_project(folder: Path, snakefile: str, config: dict) -> None:
    files = {"workflow/Snakefile": snakefile, "config/config.yaml": yaml.dump(config)}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def smoke() -> dict:
    return yaml.safe_load(SMOKE.read_text())


def test_the_snakefile_plans_the_same_from_any_folder(outer, snakemake, tmp_path):
    there, here = tmp_path / "elsewhere", tmp_path / "run"
    there.mkdir()
    snakefile = str(ROOT / "workflow/Snakefile")
    away = outer("--snakefile", snakefile, "--configfile", str(SMOKE), "--dry-run", folder=there)
    jobs = planned(away.stdout)
    assert jobs["all"] == 1 and jobs == planned(snakemake(here, "--dry-run").stdout)


@pytest.mark.slow
def test_rules_live_beside_those_of_somebody_else(outer, tmp_path):
    theirs = tmp_path / "theirs"
    write_project(theirs, THEIRS.format(snakefile=str(ROOT / "workflow/Snakefile")),
                  {"images": smoke()})  # fmt: skip
    made = outer()
    assert planned(made.stdout).keys() == {"meddiff_draw_dermoscopy", "meddiff_index", "summary"}
    assert made.stdout.count("their own hook") == 1
    assert int((theirs / "results/summary.txt").read_text()) == 134 + 1
    records = theirs / ".snakemake/meddiff/records"
    assert (theirs / "logs/meddiff_index.log").is_file() and (records / f"{INDEX}.json").is_file()
    # Their rule has no log, no record and no digest of ours, and runs once.
    assert not (records / "results/summary.txt.json").exists()
    assert not list(theirs.glob("logs/summary*"))
    assert "Nothing to be done" in outer().stdout
    # A file of theirs may be edited by hand; one that a rule of ours would make is planned...
    split = theirs / "data/images/split.csv"
    split.write_text("mine\n")
    (theirs / "results/summary.txt").write_text("mine\n")
    assert "Nothing to be done" in outer().stdout
    # ... and stops the run by name before it is overwritten.
    stopped = outer("data/images/split.csv", check=False)
    assert stopped.returncode == 1 and split.read_text() == "mine\n"
    assert re.search(r"overwritten: data/images/split\.csv; move", stopped.stdout)
    assert "Traceback" not in stopped.stdout


def test_a_prefix_is_refused_by_one_line(outer, tmp_path):
    snakefile = THEIRS.format(snakefile=str(ROOT / "workflow/Snakefile"))
    snakefile = snakefile.replace("    config: config", '    prefix: "ours"\n    config: config')
    write_project(tmp_path / "theirs", snakefile, {"images": smoke()})
    refused = outer("--dry-run", check=False)
    assert refused.returncode == 1
    assert len(re.findall(r"module meddiff: .*prefix", refused.stdout)) == 1
    assert "Traceback" not in refused.stdout


def test_a_wrong_key_of_their_configuration_is_named(outer, tmp_path):
    snakefile = THEIRS.format(snakefile=str(ROOT / "workflow/Snakefile"))
    write_project(tmp_path / "theirs", snakefile, {"images": smoke() | {"sede": 1}})
    refused = outer("--dry-run", check=False)
    assert refused.returncode == 1 and "sede" in refused.stdout
    assert "Traceback" not in refused.stdout


@pytest.mark.slow
def test_their_relative_paths_start_at_their_project(outer, tmp_path):
    theirs = tmp_path / "theirs"
    rng = np.random.default_rng(0)
    for cls in ("a", "b"):
        (theirs / "mine" / cls).mkdir(parents=True)
        for number in range(12):
            image = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
            image.save(theirs / "mine" / cls / f"{number}.png")
    data = {"source": "folder", "classes": ["a", "b"], "size": 16, "folder": {"images": "mine"}}
    write_project(theirs, THEIRS.format(snakefile=str(ROOT / "workflow/Snakefile")),
                  {"images": {"data": data, "extractors": {"trained": []}}})  # fmt: skip
    assert planned(outer().stdout).keys() == {"meddiff_index", "summary"}
    assert int((theirs / "results/summary.txt").read_text()) == 24 + 1


@pytest.mark.parametrize(
    ("file", "here", "newer", "named"),
    [
        ("rules/common.smk", f'"{meddiff.__version__}"', '"9.9.9"', meddiff.__version__),
        ("rules/common.smk", "import HOG_SVM", "import HOG_SVM, NEWER", "NEWER"),
        ("scripts/split.py", "from meddiff.workflow.jobs", "from meddiff.newer", "split.py"),
        ("scripts/split.py", "import job", "import job, newer", "newer"),
    ],
)
def test_a_library_of_another_version_is_named_in_one_line(
    outer, repository, tmp_path, file, here, newer, named
):
    """By its version, or by what it has not where both say the same one."""
    shutil.copytree(repository, tmp_path / "newer")
    text = (tmp_path / "newer/workflow" / file).read_text()
    assert here in text
    (tmp_path / "newer/workflow" / file).write_text(text.replace(here, newer))
    snakefile = str(tmp_path / "newer/workflow/Snakefile")
    refused = outer("--dry-run", "--snakefile", snakefile, folder=tmp_path, check=False)
    assert refused.returncode == 1 and "Traceback" not in refused.stdout
    (line,) = [each for each in refused.stdout.splitlines() if "install" in each]
    assert named in line and "meddiff" in line


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workflow in a repository of git, without the library, as a deployed one is fetched."""
    folder = tmp_path_factory.mktemp("published") / "meddiff"
    for name in ("workflow", "config", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", folder, "-c", "user.name=alice", "-c", "user.email=alice@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"], ["tag", "v1"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


@pytest.fixture
def hosted(repository: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of the repository on GitHub, for which git takes it from this machine."""
    settings = {"COUNT": "1", "KEY_0": f"url.file://{repository}.insteadOf", "VALUE_0": ADDRESS}
    for key, value in settings.items():
        monkeypatch.setenv(f"GIT_CONFIG_{key}", value)
    return ADDRESS


@pytest.mark.slow
def test_a_deployed_workflow_takes_everything_from_the_repository(outer, hosted, tmp_path):
    theirs, run = tmp_path / "theirs", tmp_path / "run"
    deploy = [
        Path(sys.executable).with_name("snakedeploy"),
        "deploy-workflow",
        hosted,
        theirs,
        "--tag",
        "v1",
    ]
    subprocess.run(deploy, check=True, capture_output=True)
    assert (theirs / "profiles/thesis/config.yaml").is_file()
    shutil.copyfile(SMOKE, theirs / "config/config.yaml")
    assert planned(outer("--dry-run").stdout)["all"] == 1
    archives = "data/raw/phantom/isic/2016/ISBI2016_ISIC_Part1_Training_Data.zip"
    outer(archives, "--directory", str(run), "--configfile", str(SMOKE))
    assert (run / archives).is_file() and (run / "logs/draw_isic2016.log").is_file()
