"""What `pip install meddiff` gives: built, unpacked, and run as if nothing else were installed."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import meddiff
from conftest import ROOT
from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.imports import EXTRAS
from meddiff.extractors.skinlesnet import SkinLesNet

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BUILD = """
import sys
from setuptools import build_meta

print(getattr(build_meta, f"build_{sys.argv[1]}")(sys.argv[2]))
"""
# The import system's own way to be without a module, before anything else is imported.
BARE = """
import sys, importlib.abc


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Absent())
"""


def build(kind: str, folder: Path, target: Path) -> Path:
    """Build a wheel or an sdist of a folder as pip does."""
    command = [sys.executable, "-c", BUILD, kind, str(target)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return target / done.stdout.splitlines()[-1]


def needed_by(requirements: list[str]) -> set[str]:
    """Names of distributions that these requirements bring, without any extra."""
    names: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        environment = {"extra": ""}
        if name in names or (requirement.marker and not requirement.marker.evaluate(environment)):
            continue
        names.add(name)
        try:
            waiting += requires(name) or []
        except PackageNotFoundError:
            continue
    return names


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of the sdist, unpacked; its sitecustomize hides all but the core."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    sdist = build("sdist", source, folder)
    shutil.unpack_archive(sdist, folder / "unpacked", filter="data")
    wheel = build("wheel", next((folder / "unpacked").iterdir()), folder)
    assert wheel.name == f"meddiff-{meddiff.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    core = needed_by(PROJECT["dependencies"])
    absent = {
        module
        for module, names in packages_distributions().items()
        if not core & {canonicalize_name(name) for name in names} and module != "meddiff"
    }
    assert absent >= {"snakemake", "dvc", "pulp", "monai", "kaggle", "pytest", "git"}
    assert not absent & {"torch", "numpy", "pandas", "PIL", "sklearn", "cv2"}
    (folder / "site/sitecustomize.py").write_text(BARE.format(absent=absent))
    return folder / "site"


def command(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command where the project is not."""
    return subprocess.run(
        [sys.executable, "-m", "meddiff.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_version_is_the_same_everywhere():
    """Pip and the wheel read it in __init__.py; CONTRIBUTING.md names all that repeat it."""
    releases = (ROOT / "CONTRIBUTING.md").read_text().split("## Releases")[1]
    for name in ("__init__.py", "common.smk", "meddiff.yaml", "CITATION.cff", "CHANGELOG.md"):
        assert name in releases
    assert "version" in PROJECT["dynamic"]
    environment = (ROOT / "workflow/envs/meddiff.yaml").read_text()
    assert f"- meddiff[workflow] =={meddiff.__version__}\n" in environment
    rules = (ROOT / "workflow/rules/common.smk").read_text()
    assert f'VERSION = "{meddiff.__version__}"\n' in rules
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.*)$", citation, re.M)[1] == meddiff.__version__
    assert re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == (
        meddiff.__version__
    )


def test_the_wheel_has_every_module_and_table(site):
    ours = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src/meddiff").rglob("*")
        if path.suffix in (".py", ".csv", ".typed", ".j2", ".json", ".html")
    }
    theirs = {path.relative_to(site).as_posix() for path in (site / "meddiff").rglob("*.*")}
    assert ours == {name for name in theirs if "__pycache__" not in name}
    entry = next(site.glob("meddiff-*.dist-info/entry_points.txt")).read_text()
    assert "meddiff = meddiff.cli:main" in entry


def test_evaluate_runs_alone(site, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("real", "synthetic", "unseen"):
        (tmp_path / name).mkdir()
        for n in range(8):
            pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{n}.png")
    about = {"extractor": "skinlesnet", "classes": 2, "size": 32}
    save_checkpoint(tmp_path / "net.safetensors", SkinLesNet(2, 32).state_dict(), about)
    assert "synthetic" in command(site, tmp_path, "evaluate", "--help").stdout
    done = command(
        site, tmp_path, "evaluate", "real", "synthetic", "--unseen", "unseen",
        "--extractor", "net.safetensors", "--n-resamples", "4", "--report", "report.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Seven criteria" in (tmp_path / "report.html").read_text()
    assert "SSIM within synthetic" in done.stdout and "no copies" in done.stdout
    assert re.search(r"^ *FID SkinLesNet +\d", done.stdout, re.M), done.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [(["verify", "results/t.csv"], "workflow"), (["share"], "workflow"), (["study"], "workflow")],
)
def test_what_needs_an_extra_says_which(site, tmp_path, arguments, extra):
    done = command(site, tmp_path, *arguments)
    assert done.returncode == 1 and f"pip install 'meddiff[{extra}]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def imported(path: Path) -> set[str]:
    """Top-level names of what a file imports, wherever the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


def test_an_extra_is_named_for_each_module_that_it_brings():
    names = set().union(*map(imported, (ROOT / "src/meddiff").rglob("*.py"))) - {"meddiff"}
    expected: dict[str, str] = {}
    core = needed_by(PROJECT["dependencies"])
    for extra in ("workflow", "share", "export"):
        brought = needed_by(PROJECT["optional-dependencies"][extra]) - core
        for module, distributions in packages_distributions().items():
            if module in names and brought & set(map(canonicalize_name, distributions)):
                expected.setdefault(module, extra)
    assert expected == EXTRAS
