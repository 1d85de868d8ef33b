"""The floors of docs/architecture.md: imports point downwards only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

PACKAGE = ROOT / "src/meddiff"
FLOORS = [
    {"core"},
    {"data", "diffusion", "metrics"},
    {"audit", "evaluation", "extractors", "reporting"},
    {"cas", "reader_study"},
    {"assessment", "workflow"},
    {"cli"},
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, wherever the import stands."""
    names = imported_names(path.read_text())
    return {module for name in names if (module := module_of(name))}


def imported_names(code: str) -> set[str]:
    """Dotted names that a program imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def module_of(name: str) -> str | None:
    """Return the module that holds a dotted name, relative to the package."""
    package, *parts = name.split(".")
    while parts and package == "meddiff":
        path = PACKAGE.joinpath(*parts)
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return ".".join(parts)
        parts.pop()
    return None


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


GRAPH = {name_of(path): imports(path) for path in MODULES}


def test_nothing_lies_loose_at_the_top():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py"}


@pytest.mark.parametrize("module", sorted(set(GRAPH) - {""}))
def test_imports_point_downwards(module):
    package = module.split(".")[0]
    for other in GRAPH[module]:
        name = other.split(".")[0]
        assert name == package or FLOOR_OF[name] < FLOOR_OF[package], (module, other)


@pytest.mark.parametrize("script", sorted((ROOT / "workflow/scripts").glob("*.py")), ids=str)
def test_scripts_use_the_library_and_no_other_script(script):
    others = {path.stem for path in script.parent.glob("*.py")} - {script.stem}
    names = {name.split(".")[0] for name in imported_names(script.read_text())}
    assert not names & others
    assert not any(name.startswith("meddiff.cli") for name in imported_names(script.read_text()))


@pytest.mark.parametrize("rules", sorted((ROOT / "workflow/rules").glob("*.smk")), ids=str)
def test_rules_import_nothing_that_computes(rules):
    indented = map(str.strip, rules.read_text().splitlines())
    lines = [line for line in indented if line.startswith(("from ", "import "))]
    names = imported_names("\n".join(lines))
    assert not any(name.startswith(("meddiff.cli", "meddiff.workflow.jobs")) for name in names)
    program = "\n".join([*lines, "import sys", "print('torch' in sys.modules)"])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_no_circle():
    settled: set[str] = set()
    waiting = dict(GRAPH)
    while ready := {name for name, needs in waiting.items() if needs <= settled | {name}}:
        settled |= ready
        waiting = {name: needs for name, needs in waiting.items() if name not in settled}
    assert not waiting


def test_no_two_classes_have_one_name():
    names = [
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    ]
    assert len(names) > 100
    assert sorted(set(names)) == sorted(names)
