"""Digests of the code that a result depends on."""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

from meddiff.workflow.provenance.syntax import Code, Import, canonical_code

PACKAGE = Path(__file__).parents[2]
MARKER = "AFFECTS_RESULTS = False"
"""What a module says of itself that only logs, reports errors, or brings bytes to their place:
editing it must not retrain a DDPM."""


def fingerprint(script: str | Path, *modules: str | Path) -> str:
    """Return a digest of a script, of further modules, and of all of this package that they use.

    Excluded are modules that say `AFFECTS_RESULTS = False`, every `settings.py`, since declared
    values reach a job as parameters, and packages' `__init__`, which only hand names on. Comments,
    docstrings, formatting, names of local variables and where a module lies do not count.

    Returns:
        16 hexadecimal digits, the same under every version of Python.
    """
    digest = hashlib.sha256()
    for code, numbers in _closure(Path(script), *map(Path, modules)).values():
        digest.update(f"{code.syntax}{numbers}".encode())
    return digest.hexdigest()[:16]


def absent_imports(script: str | Path) -> list[str]:
    """Return what a script imports of this package that the package has not, as `module.name`."""
    return [
        f"{node.module}.{alias.name}"
        for node in ast.walk(_tree(Path(script)))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "meddiff"
        for alias in node.names
        if not _offers(node.module or "", alias.name)
    ]


def _offers(module: str, name: str) -> bool:
    folder = PACKAGE.joinpath(*module.split(".")[1:])
    if (folder / name).is_dir() or (folder / f"{name}.py").is_file():
        return True
    files = (folder.with_suffix(".py"), folder / "__init__.py")
    return any(file.is_file() and re.search(rf"\b{name}\b", file.read_text()) for file in files)


def _closure(*files: Path) -> dict[Path, tuple[Code, list[int]]]:
    """Return files and all that they use, with the numbers of the modules that each one uses.

    Modules are numbered as they are first used: by the code, wherever they lie.
    """
    waiting = list(files)
    numbers = {path: number for number, path in enumerate(files)}
    closure: dict[Path, tuple[Code, list[int]]] = {}
    for path in waiting:
        code = _code(path)
        modules = [*code.modules, *sorted(code.unused, key=lambda module: _code(module).syntax)]
        waiting += [module for module in modules if module not in numbers]
        used = [numbers.setdefault(module, len(numbers)) for module in modules]
        closure[path] = code, used
    return closure


@cache
def _code(path: Path) -> Code:
    return canonical_code(_tree(path), _resolve)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


@cache
def _resolve(module: str, name: str | None) -> Import | None:
    """Find the file that defines `name`, through the `__init__` that hands it on."""
    if module.split(".")[0] != "meddiff":
        return None
    folder = PACKAGE.joinpath(*module.split(".")[1:])
    for file in (f"{name}.py", f"{name}/__init__.py") if name else ():
        if (folder / file).is_file():
            return _imported(folder / file, None)
    if folder.with_suffix(".py").is_file():
        return _imported(folder.with_suffix(".py"), name)
    face = folder / "__init__.py"
    if name and face.is_file():
        for node in ast.walk(_tree(face)):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        return _resolve(node.module or "", alias.name)
    return None


def _imported(file: Path, name: str | None) -> Import:
    excluded = file.name == "settings.py" or any(
        isinstance(node, ast.Assign) and ast.unparse(node) == MARKER for node in _tree(file).body
    )
    return Import(None if excluded else file, name)
