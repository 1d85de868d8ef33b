"""Fingerprints follow the code that runs, and nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT
from meddiff.provenance import fingerprint as module

SCRIPTS = ROOT / "workflow/scripts"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the same shape, whose files a test may edit."""
    root = tmp_path / "meddiff"
    files = {
        "a.py": "from meddiff.b.deep import f\nfrom meddiff.progress import x\n\ng = f\n",
        "b/__init__.py": "from meddiff.b.deep import f\nfrom meddiff.b.other import h\n",
        "b/deep.py": 'def f():\n    """Say."""\n    # why\n    return 1\n',
        "b/other.py": "def h():\n    from meddiff.lazy import z\n    return z\n",
        "b/settings.py": "LIMIT = 1\n",
        "lazy.py": "z = 1\n",
        "progress.py": "x = 1\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(module, "PACKAGE", root)

    def digest(script: str) -> str:
        for cached in (module._tree, module._syntax, module._imports):
            cached.cache_clear()
        path = tmp_path / "script.py"
        path.write_text(script)
        return module.fingerprint(path)

    return root, digest


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("b/deep.py", "# why", "# because"),
        ("b/deep.py", "Say.", "Say it."),
        ("b/deep.py", "return 1", "return (\n        1\n    )"),
        ("b/other.py", "return z", "return -z"),
        ("b/settings.py", "LIMIT = 1", "LIMIT = 2"),
        ("progress.py", "x = 1", "x = 2"),
        ("lazy.py", "z = 1", "z = 2"),
    ],
)
def test_what_does_not_run_does_not_count(package, name, old, new):
    root, digest = package
    script = "from meddiff.a import g\ng()\n"
    before = digest(script)
    edit(root / name, old, new)
    assert digest(script) == before


@pytest.mark.parametrize(
    "script",
    [
        "from meddiff.a import g\n",
        "from meddiff.b import f\n",
        "from meddiff.b.deep import f\n",
        "import meddiff.b.deep\n",
        "def later():\n    from meddiff.b import deep\n",
    ],
)
def test_code_reached_by_any_import_counts(package, script):
    root, digest = package
    before = digest(script)
    edit(root / "b/deep.py", "return 1", "return 2")
    assert digest(script) != before


def test_a_lazy_import_counts(package):
    root, digest = package
    before = digest("from meddiff.b import h\n")
    edit(root / "lazy.py", "z = 1", "z = 2")
    assert digest("from meddiff.b import h\n") != before


def test_the_script_itself_counts(package):
    _, digest = package
    assert digest("x = 1\n") != digest("x = 2\n")


def reached(script: str) -> set[str]:
    paths = module._closure(SCRIPTS / script)
    return {path.relative_to(module.PACKAGE).as_posix() for path in paths}


def test_metrics_never_reach_a_training():
    ddpm = reached("train_ddpm.py")
    assert {"diffusion/training.py", "diffusion/model.py", "batches.py"} <= ddpm
    assert not any(path.startswith(("metrics/", "cas/", "extractors/")) for path in ddpm)
    assert "metrics/frechet.py" in reached("fid.py")
    assert "metrics/structural.py" not in reached("fid.py")


@pytest.mark.parametrize("path", sorted((ROOT / "src/meddiff").rglob("__init__.py")))
def test_packages_faces_hold_no_logic(path):
    """Fingerprints leave them out, so they may only hand names on."""
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)
    assert all(isinstance(node, allowed) for node in ast.parse(path.read_text()).body)


PACKAGE = ROOT / "src/meddiff"
LAYERS = ["data", "diffusion", "extractors", "metrics", "cas", "figures"]


def imported(path: Path) -> Iterator[str]:
    """Names below `meddiff` that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        yield from (m.split(".")[1] for m in modules if m.startswith("meddiff."))


def importers(name: str) -> set[str]:
    """First parts below `meddiff` of the files that import a module or package."""
    files = [path for path in PACKAGE.rglob("*.py") if name in imported(path)]
    return {path.relative_to(PACKAGE).parts[0] for path in files}


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer):
    later = {*LAYERS[LAYERS.index(layer) + 1 :], "provenance", "sharing"}
    for path in (PACKAGE / layer).rglob("*.py"):
        assert not later & set(imported(path)), path


def test_provenance_stands_on_errors_and_files_alone():
    for path in (PACKAGE / "provenance").rglob("*.py"):
        assert set(imported(path)) <= {"errors", "files", "provenance"}, path


def test_jobs_write_records_and_only_the_command_line_shares_them():
    assert importers("provenance") == {"jobs.py", "sharing", "cli.py", "provenance"}
    assert importers("sharing") == {"cli.py", "sharing"}
    assert importers("cli") == set()


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_how_results_are_recorded_and_shared_never_reaches_a_script(script):
    """An edit of provenance or sharing must not retrain a net."""
    assert not any(path.startswith(("provenance", "sharing", "cli")) for path in reached(script))


def test_the_source_digest_follows_every_file(package, tmp_path):
    root, _ = package
    rule = tmp_path / "workflow/rules/a.smk"
    rule.parent.mkdir(parents=True)
    rule.write_text("rule a:")
    digests = {module.source_digest(tmp_path)}
    rule.write_text("rule b:")
    digests.add(module.source_digest(tmp_path))
    edit(root / "lazy.py", "z = 1", "z = 2")
    digests.add(module.source_digest(tmp_path))
    assert len(digests) == 3
