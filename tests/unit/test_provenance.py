"""Fingerprints follow the code that runs, and nothing else."""

import ast
import copy
import io
import re
import tempfile
import tokenize
from collections.abc import Iterator, Mapping
from inspect import CO_OPTIMIZED
from itertools import permutations
from pathlib import Path
from types import CodeType

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from conftest import ROOT
from meddiff.extractors.names import PRETRAINED, TRAINED
from meddiff.workflow.provenance import environment
from meddiff.workflow.provenance import fingerprint as module
from meddiff.workflow.provenance.environment import source_digest
from meddiff.workflow.provenance.syntax import IGNORED_FIELDS, canonical_code

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
        "__init__.py": "from meddiff import b\n",
        "lazy.py": "from meddiff.b.progress import y\n\nz = y\n",
        "core/progress.py": "AFFECTS_RESULTS = False\nx = 1\n",
        "b/progress.py": "y = 1\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(module, "PACKAGE", root)
    forget()
    yield root, lambda text, *modules: digest(text, *(root / name for name in modules))
    forget()


def forget() -> None:
    for cached in (module._tree, module._code, module._resolve):
        cached.cache_clear()


def digest(text: str, *modules: Path) -> str:
    """The digest of a script of this text."""
    forget()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "script.py"
        path.write_text(text)
        return module.fingerprint(path, *modules)


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
        ("core/progress.py", "x = 1", "x = 2"),
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
        "from meddiff import b\n",
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


def test_a_module_with_the_name_of_an_excluded_one_counts(package):
    root, digest = package
    before = digest("from meddiff.lazy import z\n")
    edit(root / "b/progress.py", "y = 1", "y = 2")
    assert digest("from meddiff.lazy import z\n") != before


USERS = """
from meddiff.a import g
from meddiff.b.deep import f
from meddiff.b import other
from meddiff.lazy import z as last


def run():
    from meddiff.b.progress import y
    import meddiff.b.deep as deep
    return g() - f() * other.h() ** y + deep.f() / last
"""


def move(root: Path, old: str, new: str, script: str) -> str:
    """Move a module, let all imports follow, sort them, and return the script with its own."""
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    (root / old).rename(root / new)
    before, after = (n.removesuffix(".py").replace("/", ".") for n in (old, new))
    short, name = before.split(".")[-1], after.split(".")[-1]
    package, to = (".".join(["meddiff", *n.split(".")[:-1]]) for n in (before, after))

    def follow(text: str) -> str:
        text = text.replace(f"meddiff.{before} import", f"meddiff.{after} import")
        text = text.replace(f"import meddiff.{before} as", f"import meddiff.{after} as")
        text = text.replace(f"from {package} import {short}\n", f"from {to} import {name}\n")
        text = re.sub(rf"\b{short}\.h\(", f"{name}.h(", text)
        lines = text.splitlines(keepends=True)
        top = [line for line in lines if line.startswith("from meddiff")]
        rest = [line for line in lines if not line.startswith("from meddiff")]
        return "".join([*sorted(top), *rest])

    for file in root.rglob("*.py"):
        file.write_text(follow(file.read_text()))
    return follow(script)


@pytest.mark.parametrize("new", ["z/far/away.py", "b/aaa.py", "zzz.py", "core/moved.py"])
@pytest.mark.parametrize(
    "old", ["a.py", "b/deep.py", "b/other.py", "lazy.py", "core/progress.py", "b/progress.py"]
)
def test_where_a_module_lies_does_not_count(package, old, new):
    root, digest = package
    before = digest(USERS)
    script = move(root, old, new, USERS)
    assert not (root / old).exists()
    assert (root / new).is_file()
    assert digest(script) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("g() - f()", "f() - g()"),
        ("from meddiff.a import g", "from meddiff.b.deep import f as g"),
        ("from meddiff.b import other", "from meddiff.b import deep as other"),
        ("import z as last", "import y as last"),
        ("    return", "    f = y\n    return"),
        ("    import meddiff.b.deep as deep", "    import meddiff.b.other as deep"),
    ],
)
def test_which_import_is_meant_counts(package, old, new):
    _, digest = package
    assert old in USERS
    assert digest(USERS.replace(old, new)) != digest(USERS)


def test_two_modules_that_change_places_count(package):
    root, digest = package
    before = digest(USERS)
    one, other = root / "b/deep.py", root / "b/other.py"
    texts = one.read_text(), other.read_text().replace("def h", "def f")
    one.write_text(texts[1])
    other.write_text(texts[0].replace("def f", "def h"))
    assert digest(USERS) != before


def test_modules_that_import_each_other_have_a_digest(package):
    root, digest = package
    (root / "b/deep.py").write_text("def f():\n    from meddiff.a import g\n    return g\n")
    before = digest(USERS)
    edit(root / "a.py", "g = f", "g = -f")
    assert digest(USERS) != before


def test_imports_for_a_type_checker_do_not_count(package):
    _, digest = package
    lazy = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from meddiff.a import g\n"
    assert digest(lazy) == digest("from typing import TYPE_CHECKING\n")


def test_further_modules_count(package):
    root, digest = package
    before = digest("x = 1", "lazy.py")
    assert before != digest("x = 1")
    edit(root / "b/progress.py", "y = 1", "y = 2")
    assert digest("x = 1", "lazy.py") != before


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
    assert digest(PINNED) == "587da1908bcff3df"
    assert digest("") == "cf68b2c57e783392"
    assert digest(USERS) == "4f0349e662456271"


class FunctionDef(ast.FunctionDef):
    """A function as a Python of today or tomorrow describes it."""

    _fields = (*dict.fromkeys((*ast.FunctionDef._fields, "type_params", "new")),)


def described_function(**fields: object) -> ast.AST:
    """The tree of `def f(): return x`, described by fields of one's own."""
    arguments = ast.arguments(
        posonlyargs=[], args=[], vararg=None, kwonlyargs=[], kw_defaults=[], kwarg=None, defaults=[]
    )
    body: list[ast.stmt] = [ast.Return(value=ast.Name(id="x", ctx=ast.Load()))]
    defaults = {"name": "f", "args": arguments, "body": body, "decorator_list": [], "returns": None}
    node = FunctionDef()
    for name, value in {**copy.deepcopy(defaults), **fields}.items():
        setattr(node, name, value)
    return node


def named(value: object) -> str:
    """A name of a value that is the same in every process."""
    return re.sub(r" at 0x\w+", "", repr(value))


def shape(*nodes: ast.AST) -> str:
    tree = ast.Module(list(nodes), [])
    return canonical_code(tree, lambda module, name: None).syntax


FUNCTION = shape(described_function())


def test_the_tree_made_by_hand_is_the_one_of_its_text():
    assert shape(*ast.parse("def f(): return x").body) == FUNCTION


@pytest.mark.parametrize("name", sorted(IGNORED_FIELDS))
@pytest.mark.parametrize("value", [None, [], "int", 3, [ast.Name("T", ast.Load())]], ids=named)
def test_what_only_some_versions_tell_does_not_count(name, value):
    node = described_function(**{name: value})
    node._fields = (*dict.fromkeys((*FunctionDef._fields, name)),)
    assert name in dict(ast.iter_fields(node))
    assert shape(node) == FUNCTION


@pytest.mark.parametrize("value", [None, []])
def test_a_field_without_content_does_not_count_wherever_it_stands(value):
    assert shape(described_function(new=value)) == FUNCTION
    assert shape(described_function(returns=value, decorator_list=value)) == FUNCTION
    node = described_function()
    node.body[0].value._fields = ("new", "id", "ctx")
    node.body[0].value.new = value
    assert shape(node) == FUNCTION


def test_empty_text_in_an_f_string_does_not_count():
    """Python 3.12 has some after a format that is a variable."""
    (node,) = ast.parse("f'{a:{b}}'").body
    before = shape(node)
    node.value.values[0].format_spec.values.append(ast.Constant(""))
    assert shape(node) == before


@pytest.mark.parametrize("value", [0, "", False, b"", [None], ast.Load()], ids=named)
def test_a_field_with_content_counts(value):
    assert shape(described_function(new=value)) != FUNCTION


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
    shapes = {shape(*ast.parse(text).body): text for text in TEXTS}
    assert list(shapes.values()) == TEXTS


LINES = [
    "{x} = {y} - {z}",
    "{x} += {y} * 2",
    "{x}[{y}].real = {z}",
    "{x}, *{y} = G, {z}",
    "{x}: int = {y}",
    "{x} = [{z} + {y} for {z} in {x} if {z} > {y}]",
    "{x} = {{{y}: {z} for {y}, {z} in {x}.items()}}",
    "{x} = sum(({y} := {z}) for G in range(3))",
    "{x} = [[{y} for {z} in {y}] for {y} in {z}]",
    "{x} = sorted({y}, key=lambda {z}: {z} - {x})",
    "{x} = lambda *{y}, **{z}: ({y}, {z}, {x})",
    "for {x} in range({y}): {z} = {x}",
    "for {x}, {y} in {z}: pass",
    "with open({y}) as {x}: del {z}",
    "try: {x}\n    except ValueError as {y}: {z} = {y}",
    "def {x}({y}={z}, /): return {y} - {z} - {x}",
    "def {x}():\n        nonlocal {y}\n        {y} = {z}",
    "def {x}():\n        global G\n        G = {y}\n        {z} = {y}",
    "class {x}({y}):\n        field = {z}\n        def method(self): return self.field - {z}",
    "match {x}:\n        case [{y}, *{z}]: pass",
    "match {x}:\n        case {{'k': 1, **{y}}}: {z} = {y}",
    "import numpy as {x}\n    {y} = {x}.{z}",
    "from os import path as {x}",
    "f'{{ {x}!r:>{{ {y} }} }}' and dict(k={z}, **{x})",
    "while ({x} := {y}): {z} -= 1",
]
NAMES = st.permutations(["left", "right", "i", "_", "name", "path", "k", "m", "e"])
PROGRAM = st.lists(
    st.tuples(st.sampled_from(LINES), st.permutations("abc")), min_size=1, max_size=6
)


def render(program: list[tuple[str, list[str]]], names: Mapping[str, str]) -> str:
    """A function of three local variables, with these names."""
    lines = [
        line.format(**{slot: names[letter] for slot, letter in zip("xyz", order, strict=True)})
        for line, order in program
    ]
    # What follows a dot or stands before "=" in a call is no variable.
    body = "\n    ".join(["{a} = {b} = {c} = G".format(**names), *lines])
    return f"G = 1\n\n\ndef f(p, q=2):\n    {body}\n    return p\n"


@given(PROGRAM, NAMES)
def test_names_of_local_variables_do_not_count(program, names):
    program = [(line.replace(".{z}", ".real"), order) for line, order in program]
    before = render(program, dict(zip("abc", "abc", strict=True)))
    after = render(program, dict(zip("abc", names, strict=False)))
    compile(after, "after", "exec")
    assert digest(before) == digest(after)


STRAIGHT = st.lists(
    st.tuples(st.sampled_from(LINES[:5]), st.permutations("abc")), min_size=1, max_size=5
)


@given(STRAIGHT, st.data())
def test_which_local_variable_is_meant_counts(program, data):
    """One variable for another is another program, unless all are renamed alike."""
    before = render(program, {name: name for name in "abc"})
    places = [match.start() for match in re.finditer(r"(?<![\w.])[abc](?!\w)", before)]
    at = data.draw(st.sampled_from(places))
    other = data.draw(st.sampled_from([name for name in "abcpG" if name != before[at]]))
    after = before[:at] + other + before[at + 1 :]
    renamed = [
        render(program, dict(zip("abc", order, strict=True))) for order in permutations("abc")
    ]
    assume(after not in renamed)
    assert digest(before) != digest(after)


EDITS = [
    ("def f(x, y): return x - y", "def f(x, y): return y - x"),
    ("def f(x, y): return x - y", "def f(y, x): return x - y"),
    ("def f(*, x, y): return x - y", "def f(*, y, x): return y - x"),
    ("def f(*x, **y): return x - y", "def f(*x, **y): return y - x"),
    ("def f():\n x = 1\n return x", "def f():\n x = 2\n return x"),
    ("def f():\n x = 1\n return x + 1", "def f():\n x = 1\n return x - 1"),
    ("def f():\n x = 1\n return x", "def f():\n global x\n x = 1\n return x"),
    ("def f():\n x = 1\n return x", "def f():\n y = 1\n return x"),
    ("def f():\n x = 1\n return y", "def f():\n x = 1\n return z"),
    ("def f():\n x = 1\n return [x for y in z]", "def f():\n x = 1\n return [x for x in z]"),
    ("def f(y):\n x = y\n return [x for z in x]", "def f(y):\n x = y\n return [z for z in x]"),
    ("def f():\n x = 1\n def g():\n  x = 2\n g()\n return x",
     "def f():\n x = 1\n def g():\n  nonlocal x\n  x = 2\n g()\n return x"),
    ("def f():\n x = 1\n def g(): return x\n x = 2\n return g",
     "def f():\n x = 1\n def g(x=x): return x\n x = 2\n return g"),
    ("def f():\n x = 1\n class C:\n  x = 2\n  def m(self): return x\n return C",
     "def f():\n x = 1\n class C:\n  y = 2\n  def m(self): return x\n return C"),
    ("def f(): return lambda a, b: a - b", "def f(): return lambda b, a: a - b"),
    ("def f():\n x = 1\n return lambda a: a", "def f():\n x = 1\n return lambda a: x"),
    ("def f():\n x = g()\n return x.a", "def f():\n x = g()\n return x.b"),
    ("def f():\n x = g()\n return h(a=x)", "def f():\n x = g()\n return h(b=x)"),
    ("def f():\n x = 'a'\n return x", "def f():\n x = 'b'\n return x"),
    ("def f():\n x = 1\n return f'{x=}'", "def f():\n y = 1\n return f'{y=}'"),
    ("def f():\n x = 1\n return locals()", "def f():\n y = 1\n return locals()"),
    ("def f():\n x = 1\n t.query('a > @x')", "def f():\n y = 1\n t.query('a > @x')"),
    ("def f():\n import a as x\n return x", "def f():\n import b as x\n return x"),
    ("def f():\n import a.b\n return a", "def f():\n import a.b as a\n return a"),
    ("def _f(x, y): return x - y\n_f(x=1, y=2)", "def _f(y, x): return y - x\n_f(x=1, y=2)"),
    ("def _f(x, y): return x - y\nh(_f)", "def _f(y, x): return y - x\nh(_f)"),
    ("def _f(x, y): return x - y\n_f(**h)", "def _f(y, x): return y - x\n_f(**h)"),
    ("@g\ndef _f(x, y): return x - y\n_f(1, 2)", "@g\ndef _f(y, x): return y - x\n_f(1, 2)"),
    ("class A:\n def _f(self, x): return x", "class A:\n def _f(self, y): return y"),
    ("x = 1\ny = 2\nz = x - y", "x = 1\ny = 2\nz = y - x"),
    ("x = 1", "y = 1"),
    ("def f(): pass", "def g(): pass"),
    ("class A:\n x = 1", "class A:\n y = 1"),
    ("class A:\n def _f(self): pass", "class A:\n def _g(self): pass"),
    ("_x = 1\n_y = 2\nz = _x - _y", "_x = 1\n_y = 2\nz = _y - _x"),
    ("_x = 1\nz = _x", "_x = 1\nz = _y"),
    ("try: f()\nexcept E as x: pass", "try: f()\nexcept E as y: pass"),
    # A name that is local at one place and stands for something outside at another.
    ("def f(): return [x for x in x]", "def f(): return [y for y in y]"),
    ("def f(): return x, lambda x: x", "def f(): return y, lambda y: y"),
    ("def f():\n def g(): x\n def h(): x = 1", "def f():\n def g(): y\n def h(): y = 1"),
    ("def f(): return [(lambda: (x := y)), x]", "def f(): return [(lambda: (z := y)), z]"),
    ("z = [(x := y) for y in a]", "z = [(b := y) for y in a]"),
    ("def f():\n def g(x): x\n g(x=1)", "def f():\n def g(y): y\n g(x=1)"),
    ("def f():\n x = 1\n class C: x", "def f():\n x = 1\n class C: y"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), EDITS)
def test_what_changes_a_result_counts(before, after):
    assert digest(before) != digest(after)


RENAMED = [
    ("def f(x, /, *y): return x - y", "def f(a, /, *b): return a - b"),
    ("def f():\n x = 1\ndef g():\n x = 2", "def f():\n y = 1\ndef g():\n x = 2"),
    ("class A:\n def f(s):\n  x = 1\n  return x", "class A:\n def f(s):\n  y = 1\n  return y"),
    ("x = [i for i in range(3)]", "x = [j for j in range(3)]"),
    ("def f():\n x = 1\n class C:\n  k = x\n  def m(self): return x",
     "def f():\n y = 1\n class C:\n  k = y\n  def m(self): return y"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), RENAMED)
def test_a_name_that_only_one_place_can_use_does_not_count(before, after):
    assert digest(before) == digest(after)


def code_objects(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from code_objects(each)


def local_names(text: str) -> set[str]:
    """Names that are local variables wherever they occur in a file, as the compiler says.

    None of a file with a query, in which `@name` reads a variable: there names count.
    """
    strings = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
    if any(isinstance(each, str) and re.search(r"@\w", each) for each in strings):
        return set()
    codes = list(code_objects(compile(text, "text", "exec")))
    local, other = set(), {node.arg for node in ast.walk(ast.parse(text)) if hasattr(node, "arg")}
    for code in codes:
        variables = {*code.co_varnames, *code.co_cellvars}
        local |= variables if code.co_flags & CO_OPTIMIZED else set()
        other |= {part for name in code.co_names for part in name.split(".")}
        if not code.co_flags & CO_OPTIMIZED:  # fields of a class
            other |= variables | {each for each in code.co_consts if isinstance(each, str)}
    words = re.findall(r"['\"@][^'\"\n]*", text)  # names in annotations and queries
    return {name for name in local - other - {".0"} if not any(name in word for word in words)}


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_every_local_variable_of_the_package_can_be_renamed(package, step):
    _, digest = package
    count = 0
    for path in sorted(PACKAGE.rglob("*.py"))[::step]:
        text = path.read_text()
        names = local_names(text)
        count += len(names)
        tokens = [
            token._replace(string=f"{token.string}_renamed")
            if token.type == tokenize.NAME and token.string in names
            else token
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
        ]
        renamed = tokenize.untokenize((token.type, token.string) for token in tokens)
        assert digest(renamed) == digest(text), (path, names)
    assert count > 500 / step


def test_the_script_itself_counts(package):
    _, digest = package
    assert digest("x = 1\n") != digest("x = 2\n")


def reached(script: str) -> set[str]:
    paths = set(module._closure(SCRIPTS / script)) - {SCRIPTS / script}
    return {path.relative_to(module.PACKAGE).as_posix() for path in paths}


def test_metrics_never_reach_a_training():
    ddpm = reached("train_ddpm.py")
    assert {"diffusion/training/loop.py", "diffusion/model.py", "core/batches.py"} <= ddpm
    assert not any(path.startswith(("metrics/", "cas/", "extractors/")) for path in ddpm)
    assert "metrics/frechet.py" in reached("distances.py")
    assert "metrics/structural.py" not in reached("distances.py")


def test_features_follow_no_other_extractor():
    """The rule adds the file of its own extractor."""
    files = {f"extractors/{name}.py" for name in (*TRAINED, *PRETRAINED)}
    assert not files & (reached("features.py") | reached("pretrained_weights.py"))


@pytest.mark.parametrize("path", sorted((ROOT / "src/meddiff").rglob("__init__.py")))
def test_packages_faces_hold_no_logic(path):
    """Fingerprints leave them out, so they may only hand names on, to type checkers too."""
    nodes = ast.parse(path.read_text()).body
    for block in [node for node in nodes if isinstance(node, ast.If)]:
        assert ast.unparse(block.test) == "TYPE_CHECKING" and not block.orelse
        nodes.remove(block)
        nodes += block.body
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)
    assert all(isinstance(node, allowed) for node in nodes)


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
    """Modules of the package that a file imports as it runs, by path, as its text says."""
    text = re.sub(r"^if TYPE_CHECKING:\n((    .*)?\n)+", "", path.read_text(), flags=re.M)
    return {
        file
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "meddiff"
        for alias in node.names
        for file in defining(node.module, alias.name)
    }


IMPORTS = {path: direct_imports(path) for path in [*PACKAGE.rglob("*.py"), *SCRIPTS.glob("*.py")]}


EXCLUDED = {
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("*.py")
    if path.name == "settings.py" or "\nAFFECTS_RESULTS = False\n" in path.read_text()
}


def seen_by(script: Path) -> set[str]:
    """Modules that a script runs, but for what is imported by excluded ones alone."""
    files: set[str] = set()
    waiting = [*IMPORTS[script]]
    while waiting:
        path = waiting.pop()
        if path not in files:
            files.add(path)
            waiting += [] if path in EXCLUDED else IMPORTS[PACKAGE / path]
    return files


SEEN = {script.name: seen_by(script) for script in SCRIPTS.glob("*.py")}
MODULES = sorted(
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


def digests() -> dict[str, str]:
    return {name: module.fingerprint(SCRIPTS / name) for name in SEEN}


@pytest.fixture(scope="module")
def unedited() -> dict[str, str]:
    return digests()


@pytest.mark.parametrize("path", MODULES)
def test_an_edit_of_a_module_changes_every_script_that_runs_it(path, monkeypatch, unedited):
    """But for those that say that no result depends on them."""
    real = module._code
    edited = PACKAGE / path
    monkeypatch.setattr(
        module,
        "_code",
        lambda p: real(p)._replace(syntax="edited") if p == edited else real(p),
    )
    changed = {name for name, digest in digests().items() if digest != unedited[name]}
    running = {name for name, paths in SEEN.items() if path in paths}
    assert changed == (set() if path in EXCLUDED else running)


def test_a_module_is_excluded_by_the_very_line():
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] != "workflow" or path.name == "jobs.py":
            lines = [line for line in path.read_text().splitlines() if "AFFECT" in line]
            assert lines in ([], ["AFFECTS_RESULTS = False"]), path


def test_the_source_digest_follows_every_file(package, tmp_path, monkeypatch):
    root, _ = package
    monkeypatch.setattr(environment, "PACKAGE", root)
    rule = tmp_path / "workflow/rules/a.smk"
    rule.parent.mkdir(parents=True)
    rule.write_text("rule a:")
    digests = {source_digest(tmp_path)}
    rule.write_text("rule b:")
    digests.add(source_digest(tmp_path))
    edit(root / "lazy.py", "z = y", "z = -y")
    digests.add(source_digest(tmp_path))
    assert len(digests) == 3
