"""Fingerprints follow the code that runs, and nothing else."""

import ast
import copy
import re
from pathlib import Path

import pytest

from conftest import ROOT
from meddiff.extractors.registry import PUBLISHED, TRAINED
from meddiff.workflow.provenance import fingerprint as module

SCRIPTS = ROOT / "workflow/scripts"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the same shape, whose files a test may edit."""
    root = tmp_path / "meddiff"
    files = {
        "a.py": "from meddiff.b.deep import f\nfrom meddiff.core.progress import x\n\ng = f\n",
        "b/__init__.py": "from meddiff.b.deep import f\nfrom meddiff.b.other import h\n",
        "b/deep.py": 'def f():\n    """Say."""\n    # why\n    return 1\n',
        "b/other.py": "def h():\n    from meddiff.lazy import z\n    return z\n",
        "b/settings.py": "LIMIT = 1\n",
        "lazy.py": "from meddiff.b.progress import y\n\nz = y\n",
        "progress.py": "x = 1\n",
        "b/progress.py": "y = 1\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(module, "PACKAGE", root)
    monkeypatch.setattr(module, "UNSEEN", {"progress.py", "b/settings.py"})

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
        ("lazy.py", "z = y", "z = -y"),
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
    edit(root / "lazy.py", "z = y", "z = -y")
    assert digest("from meddiff.b import h\n") != before


def test_a_module_with_the_name_of_an_unseen_one_counts(package):
    root, digest = package
    before = digest("from meddiff.lazy import z\n")
    edit(root / "b/progress.py", "y = 1", "y = 2")
    assert digest("from meddiff.lazy import z\n") != before


PINNED = '''
"""Docstrings do not count."""
import os.path as p
from a.b import c as d

LIMIT: float = 1e-05


@d
class A(list, metaclass=type):
    async def f(self, x, /, y=None, *rest, k: int = ..., **more) -> bool:
        async with x as y, p:
            return [i async for i in self if not i is None] or {**more, "ä": b"\\0", 1j: ()}


def g(a, b=-1.5, /):
    """Nor here."""
    global LIMIT
    try:
        LIMIT += a[1:, ::2] @ (yield) if a != b < 3 else f"{a!r:>{b}.2f}\\n" u"x"
    except* (OSError, ValueError) as e:
        raise RuntimeError from e
    match a:
        case {"x": [1, *_], **rest} | A(y=None) if rest:
            del a
        case _:
            assert b, lambda *, q: (q := None)
'''


def test_a_fingerprint_is_the_same_under_every_version_of_python(package):
    """Else a collaborator's other Python would train again. Pinned: no release may change it."""
    _, digest = package
    assert digest(PINNED) == "fa43cb2a7779bcd0"
    assert digest("") == "d044270cb3d3c326"


class FunctionDef(ast.FunctionDef):
    """A function as a Python of today or tomorrow describes it."""

    _fields = (*dict.fromkeys((*ast.FunctionDef._fields, "type_params", "new")),)


def described_function(**fields: object) -> ast.AST:
    """The tree of `def f(): return x`, described by fields of one's own."""
    arguments = ast.arguments(
        posonlyargs=[], args=[], vararg=None, kwonlyargs=[], kw_defaults=[], kwarg=None, defaults=[]
    )
    body: list[ast.stmt] = [ast.Return(value=ast.Name(id="x", ctx=ast.Load()))]
    known = {"name": "f", "args": arguments, "body": body, "decorator_list": [], "returns": None}
    node = FunctionDef()
    for name, value in {**copy.deepcopy(known), **fields}.items():
        setattr(node, name, value)
    return node


def told(value: object) -> str:
    """A name of a value that is the same in every process."""
    return re.sub(r" at 0x\w+", "", repr(value))


TOLD = module._shape(described_function())


def test_the_tree_made_by_hand_is_the_one_of_its_text():
    assert module._shape(ast.parse("def f(): return x").body[0]) == TOLD


@pytest.mark.parametrize("name", sorted(module.UNTOLD))
@pytest.mark.parametrize("value", [None, [], "int", 3, [ast.Name(id="T")]], ids=told)
def test_what_only_some_versions_tell_does_not_count(name, value):
    node = described_function(**{name: value})
    node._fields = (*dict.fromkeys((*FunctionDef._fields, name)),)
    assert name in dict(ast.iter_fields(node))
    assert module._shape(node) == TOLD


@pytest.mark.parametrize("value", [None, []])
def test_a_field_without_content_does_not_count_wherever_it_stands(value):
    assert module._shape(described_function(new=value)) == TOLD
    assert module._shape(described_function(returns=value, decorator_list=value)) == TOLD
    node = described_function()
    node.body[0].value._fields = ("new", "id", "ctx")
    node.body[0].value.new = value
    assert module._shape(node) == TOLD


@pytest.mark.parametrize("value", [0, "", False, b"", [None], ast.Load()], ids=told)
def test_a_field_with_content_counts(value):
    assert module._shape(described_function(new=value)) != TOLD


TEXTS = [
    "x = None", "x = ...", "x = 0", "x = 0.0", "x = -0.0", "x = False", "x = 0j", "x = ''",
    "x = b''", "x = '0'", "x = 'None'", "x = []", "x = ()", "x = {}", "x = [None]", "x: None", "x",
    "return", "return None", "{**a}", "{a: a}", "{a}", "f(a, *b)", "f(*a, b)", "f(a=a)", "f(**a)",
    "lambda a, /: a", "lambda a: a", "lambda *, a: a", "lambda *, a=None: a", "lambda *a: a",
    "lambda **a: a", "a[:b]", "a[b:]", "a[::b]", "a[b]", "a.b", "'a'.b", "from . import a",
    "from .. import a", "from .a import a", "import a", "import a as b", "def f(): return a",
    "async def f(): return a", "try: a\nfinally: a", "try: a\nexcept: a", "for a in b: a",
    "for a in b: a\nelse: a", "while a: a", "if a: a", "if a: a\nelse: a", "f'{a}'", "f'{a!r}'",
    "f'{a!s}'", "f'{a:x}'", "'{a}'", "a < b < a", "(a < b) < a", "a and b", "a or b", "a & b",
]  # fmt: skip


def test_each_code_has_a_shape_of_its_own():
    """What is left out must not make two codes look the same."""
    shapes = {repr(module._shape(ast.parse(text))): text for text in TEXTS}
    assert list(shapes.values()) == TEXTS


def test_the_script_itself_counts(package):
    _, digest = package
    assert digest("x = 1\n") != digest("x = 2\n")


def reached(script: str) -> set[str]:
    paths = module._closure(SCRIPTS / script)
    return {path.relative_to(module.PACKAGE).as_posix() for path in paths}


def test_metrics_never_reach_a_training():
    ddpm = reached("train_ddpm.py")
    assert {"diffusion/training.py", "diffusion/model.py", "core/batches.py"} <= ddpm
    assert not any(path.startswith(("metrics/", "cas/", "extractors/")) for path in ddpm)
    assert "metrics/frechet.py" in reached("distances.py")
    assert "metrics/structural.py" not in reached("distances.py")


def test_features_follow_no_other_extractor():
    """The rule adds the file of its own extractor."""
    files = {f"extractors/{name}.py" for name in (*TRAINED, *PUBLISHED)}
    assert not files & (reached("features.py") | reached("published_weights.py"))


@pytest.mark.parametrize("path", sorted((ROOT / "src/meddiff").rglob("__init__.py")))
def test_packages_faces_hold_no_logic(path):
    """Fingerprints leave them out, so they may only hand names on."""
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)
    assert all(isinstance(node, allowed) for node in ast.parse(path.read_text()).body)


PACKAGE = ROOT / "src/meddiff"
JUDGED_BY_CHECKSUM = {"download.py"}
"""Its rules carry no digest of code: no edit may fetch 23 GB again."""


@pytest.mark.parametrize(
    "script", sorted({path.name for path in SCRIPTS.glob("*.py")} - JUDGED_BY_CHECKSUM)
)
def test_how_results_are_recorded_and_shared_never_reaches_a_script(script):
    """An edit of provenance or sharing must not retrain a net."""
    assert not any(
        path.startswith(("workflow/provenance", "workflow/sharing", "cli"))
        for path in reached(script)
    )


def defining(module_name: str, name: str) -> set[str]:
    """Files of the package that `from module_name import name` takes the name from."""
    parts = module_name.split(".")[1:]
    folder = PACKAGE.joinpath(*parts)
    for file in (folder / f"{name}.py", folder.with_suffix(".py")):
        if parts and file.is_file():
            return {file.relative_to(PACKAGE).as_posix()}
    face = folder / "__init__.py"
    tree = ast.parse(face.read_text()) if face.is_file() else ast.Module([], [])
    return {
        path
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}
        for path in defining(node.module, name)
    }


def direct_imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, by path, as its text says."""
    return {
        file
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "meddiff"
        for alias in node.names
        for file in defining(node.module, alias.name)
    }


IMPORTS = {path: direct_imports(path) for path in [*PACKAGE.rglob("*.py"), *SCRIPTS.glob("*.py")]}


def seen_by(script: Path) -> set[str]:
    """Modules that a script runs, but for what is imported by those of UNSEEN alone."""
    found: set[str] = set()
    waiting = [*IMPORTS[script]]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [] if path in module.UNSEEN else IMPORTS[PACKAGE / path]
    return found


SEEN = {script.name: seen_by(script) for script in SCRIPTS.glob("*.py")}
MODULES = sorted(
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


@pytest.mark.parametrize("path", MODULES)
def test_an_edit_of_a_module_changes_every_script_that_runs_it(path, monkeypatch):
    """But for those that UNSEEN names in full: modules of one name are not one."""
    before = {name: module.fingerprint(SCRIPTS / name) for name in SEEN}
    real = module._syntax
    edited = PACKAGE / path
    monkeypatch.setattr(module, "_syntax", lambda p: real(p) + "edited" * (p == edited))
    changed = {name for name in SEEN if module.fingerprint(SCRIPTS / name) != before[name]}
    running = {name for name, paths in SEEN.items() if path in paths}
    assert changed == (set() if path in module.UNSEEN else running)


def test_what_is_unseen_is_a_module():
    assert set(MODULES) >= module.UNSEEN


def test_the_source_digest_follows_every_file(package, tmp_path):
    root, _ = package
    rule = tmp_path / "workflow/rules/a.smk"
    rule.parent.mkdir(parents=True)
    rule.write_text("rule a:")
    digests = {module.source_digest(tmp_path)}
    rule.write_text("rule b:")
    digests.add(module.source_digest(tmp_path))
    edit(root / "lazy.py", "z = y", "z = -y")
    digests.add(module.source_digest(tmp_path))
    assert len(digests) == 3
