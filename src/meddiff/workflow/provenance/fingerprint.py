"""Digests of the code that a result depends on."""

import ast
import hashlib
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2]
UNSEEN = {
    "core/settings.py",
    "audit/settings.py",
    "cas/settings.py",
    "data/settings.py",
    "data/download/http.py",
    "data/download/kaggle.py",
    "data/download/part.py",
    "data/download/registered.py",
    "data/download/transfer.py",
    "data/download/verify.py",
    "diffusion/settings.py",
    "extractors/settings.py",
    "metrics/settings.py",
    "core/errors.py",
    "core/files.py",
    "workflow/jobs.py",
    "core/progress.py",
    "diffusion/checkpointing.py",
    "diffusion/callbacks.py",
    "diffusion/previews.py",
}
"""Modules, by path in the package, that no result depends on: declared values reach a job as
parameters, and the others only log, report faults, or bring bytes to their place. Editing one must
not retrain a DDPM."""

UNTOLD = {"ctx", "kind", "type_comment", "type_params"}
"""Fields of a syntax tree that only some versions of Python have, or that say nothing of code."""


def fingerprint(script: str | Path) -> str:
    """Return a digest of a script and of every module of this package that it uses.

    Only the syntax tree counts: comments, docstrings and formatting change nothing. The modules of
    UNSEEN are left out, and so are packages' `__init__`, which only hand names on.
    """
    digest = hashlib.sha256()
    for path in [Path(script), *sorted(_closure(Path(script)))]:
        digest.update(_syntax(path).encode())
    return digest.hexdigest()[:16]


def _closure(script: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = list(_imports(script))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imports(path)
    return found


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


@cache
def _syntax(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [n for n in body if not _is_docstring(n)]  # type: ignore[attr-defined]
    return repr(_shape(tree))


def _shape(node: object) -> object:
    """Return a syntax tree as plain lists that are the same under every version of Python.

    Versions differ in the fields that they give a node and in how they print empty ones.
    """
    if isinstance(node, ast.AST):
        fields = [
            (name, _shape(value))
            for name, value in ast.iter_fields(node)
            if name not in UNTOLD and value is not None and value != []
        ]
        return (type(node).__name__, fields)
    return [_shape(value) for value in node] if isinstance(node, list) else repr(node)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@cache
def _imports(path: Path) -> frozenset[Path]:
    """Return the files of this package that a file imports, wherever the import stands."""
    return frozenset(
        found
        for node in ast.walk(_tree(path))
        for module, name in _imported_names(node)
        if (found := _resolve(module, name)) and found.relative_to(PACKAGE).as_posix() not in UNSEEN
    )


def _imported_names(node: ast.AST) -> Iterator[tuple[str, str | None]]:
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "meddiff":
        yield from ((node.module or "", alias.name) for alias in node.names)
    elif isinstance(node, ast.Import):
        yield from ((a.name, None) for a in node.names if a.name.split(".")[0] == "meddiff")


def _resolve(module: str, name: str | None) -> Path | None:
    """Find the file that defines `name`, through the `__init__` that hands it on."""
    folder = PACKAGE.joinpath(*module.split(".")[1:])
    if name and (folder / f"{name}.py").is_file():
        return folder / f"{name}.py"
    if folder.with_suffix(".py").is_file():
        return folder.with_suffix(".py")
    face = folder / "__init__.py"
    if name and face.is_file():
        for node in ast.walk(_tree(face)):
            if isinstance(node, ast.ImportFrom) and name in {a.name for a in node.names}:
                return _resolve(node.module or "", name)
    return None


def source_digest(root: str | Path) -> str:
    """Return the SHA-256 over the names and bytes of the library and the workflow."""
    digest = hashlib.sha256()
    root = Path(root)
    for file in sorted([*PACKAGE.rglob("*.py"), *(root / "workflow").rglob("*.*")]):
        if file.suffix in (".py", ".smk"):
            digest.update(f"{file.parent.name}/{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def git_commit() -> str | None:
    """Return the commit of the working tree, with "-dirty" where it differs; None without git."""
    command = ["git", "-C", str(PACKAGE), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()
