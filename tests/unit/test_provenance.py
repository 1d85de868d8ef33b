"""Fingerprints follow the code that runs, and nothing else."""

import ast
import json

import pytest

from conftest import ROOT
from meddiff import provenance
from meddiff.files import sha256_file

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
    monkeypatch.setattr(provenance, "PACKAGE", root)

    def digest(script: str) -> str:
        for cached in (provenance._tree, provenance._syntax, provenance._imports):
            cached.cache_clear()
        path = tmp_path / "script.py"
        path.write_text(script)
        return provenance.fingerprint(path)

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
    paths = provenance._closure(SCRIPTS / script)
    return {path.relative_to(provenance.PACKAGE).as_posix() for path in paths}


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


LAYERS = ["data", "diffusion", "extractors", "metrics", "cas", "figures"]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer):
    later = LAYERS[LAYERS.index(layer) + 1 :]
    for path in (ROOT / "src/meddiff" / layer).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("meddiff."):
                assert node.module.split(".")[1] not in later, f"{path} imports {node.module}"


def test_the_source_digest_follows_every_file(package, tmp_path):
    root, _ = package
    rule = tmp_path / "workflow/rules/a.smk"
    rule.parent.mkdir(parents=True)
    rule.write_text("rule a:")
    digests = {provenance.source_digest(tmp_path)}
    rule.write_text("rule b:")
    digests.add(provenance.source_digest(tmp_path))
    edit(root / "lazy.py", "z = 1", "z = 2")
    digests.add(provenance.source_digest(tmp_path))
    assert len(digests) == 3


def test_a_record_names_its_inputs(tmp_path):
    table, source = tmp_path / "table.csv", tmp_path / "input.npy"
    table.write_text("a\n1\n")
    source.write_bytes(b"x")
    provenance.write_record(
        tmp_path / "table.json", table, inputs=[source], config={"seed": 3}, root=tmp_path
    )
    record = json.loads((tmp_path / "table.json").read_text())
    assert record["sha256"] == sha256_file(table)
    assert record["inputs"] == {str(source): sha256_file(source)}
    assert record["config"] == {"seed": 3} and len(record["source"]) == 64
    assert record["packages"]["torch"].startswith("2.")
