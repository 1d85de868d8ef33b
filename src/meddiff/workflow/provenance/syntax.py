"""Python code in a form that is blind to what changes no result.

Comments, docstrings, formatting, names of local variables and where a module lies leave no trace.
Everything else does: constants, operators, attributes, keywords, names of a module, which variable
is meant.

Local names are numbered per statement of the module (a function, a class), one number per name, so
that code is the same if and only if its local names map one to one. A name that also stands for
something else within the statement keeps its spelling.
"""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

IGNORED_FIELDS = {"ctx", "kind", "type_comment", "type_params"}
"""Fields of a syntax tree that only some versions of Python have, or that say nothing of code."""
IDENTIFIERS = {
    ast.Name: "id", ast.arg: "arg", ast.FunctionDef: "name", ast.AsyncFunctionDef: "name",
    ast.ClassDef: "name", ast.ExceptHandler: "name", ast.MatchAs: "name", ast.MatchStar: "name",
    ast.MatchMapping: "rest", ast.Global: "names", ast.Nonlocal: "names",
}  # fmt: skip
"""Where a node names variables."""
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Import(NamedTuple):
    """What an import of this package brings."""

    file: Path | None
    """The module's file; None for a module that no result depends on."""
    name: str | None
    """The name that the module defines; None for the module itself."""


class Code(NamedTuple):
    """One file of code."""

    syntax: str
    """SHA-256 of the canonical form, in which imported modules are numbered."""
    modules: tuple[Path, ...]
    """The modules of this package behind those numbers, as they are first used."""
    unused: frozenset[Path]
    """Modules that are imported and not used by name."""


Resolve = Callable[[str, str | None], Import | None]
"""Find what `from module import name` (or `import module`) brings; None outside this package."""


def canonical_code(tree: ast.Module, resolve: Resolve) -> Code:
    """Return a module's code without what changes no result."""
    canonical = _Canonical(tree, resolve)
    shapes = [canonical.statement(node) for node in tree.body if not _is_idle(node)]
    syntax = hashlib.sha256(",".join(filter(None, shapes)).encode()).hexdigest()
    used = canonical.modules
    return Code(syntax, tuple(used), frozenset(canonical.imported - used.keys()))


class _Canonical:
    def __init__(self, tree: ast.Module, resolve: Resolve) -> None:
        self.resolve = resolve
        self.modules: dict[Path, int] = {}
        self.imported: set[Path] = set()
        self.by_name = _reads_names(tree)
        nodes = list(_nodes_of_scope(node for node in tree.body if not _is_idle(node)))
        count = Counter(name for node in nodes for name in _binds(node))
        for node in ast.walk(tree):
            count.update(node.names if isinstance(node, ast.Global) else ())
        self.imports = {
            _bound_by(alias): imported
            for node in nodes
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias, imported in self.aliases(node)
            if imported and count[_bound_by(alias)] == 1
            if alias.asname or isinstance(node, ast.ImportFrom)
        }
        """What names of the module always stand for."""

    def statement(self, node: ast.stmt) -> str:
        """Return one statement of the module as text, its local names numbered."""
        self.bound, kept = _names(node)
        self.local = set() if self.by_name else self.bound - kept
        self.numbers: dict[str, int] = {}
        return self.shape(node)

    def shape(self, node: object) -> str:
        """Return a node as text that is the same under every version of Python.

        Versions differ in the fields that they give a node and in how they print empty ones.
        """
        if isinstance(node, list):
            shapes = (self.shape(each) for each in node if not _is_idle(each))
            return f"[{','.join(filter(None, shapes))}]"
        if isinstance(node, ast.alias):
            nested = "." in node.name and node.asname is not None
            return f"alias({node.name},{nested},{self.name(_bound_by(node))})"
        if isinstance(node, ast.Import | ast.ImportFrom):
            aliases = list(self.aliases(node))
            if any(imported for _, imported in aliases):
                return ",".join(filter(None, (self.import_(*each) for each in aliases)))
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, ast.JoinedStr):
            # Python 3.12 alone has empty texts there.
            node = ast.JoinedStr([v for v in node.values if getattr(v, "value", None) != ""])
        fields = []
        for name, value in ast.iter_fields(node):
            if name in IGNORED_FIELDS or value is None:
                continue
            if IDENTIFIERS.get(type(node)) == name:
                shape = ",".join(map(self.name, value if isinstance(value, list) else [value]))
            else:
                shape = self.shape(value)
            if shape != "[]":
                fields.append(f"{name}={shape}")
        return f"{type(node).__name__}({','.join(fields)})"

    def name(self, name: str) -> str:
        """Return the number of a local name, what an imported one brings, or the name itself."""
        if name in self.local:
            return repr(self.numbers.setdefault(name, len(self.numbers)))
        if name not in self.imports:
            return repr(name)
        brought = self.number(self.imports[name])
        return f"{name!r}={brought}" if name in self.bound else brought

    def number(self, imported: Import) -> str:
        """Return an imported name with the number of its module."""
        if imported.file is None:
            return f"import({imported.name!r})"
        number = self.modules.setdefault(imported.file, len(self.modules))
        return f"import({number},{imported.name!r})"

    def import_(self, alias: ast.alias, imported: Import | None) -> str:
        """Return what an import binds; nothing where the name tells it wherever it is used."""
        if imported is None:
            return self.shape(alias)
        if imported.file:
            self.imported.add(imported.file)
        name = _bound_by(alias)
        if name in self.imports and name not in self.bound:
            return ""
        return f"{self.name(name)}={self.number(imported)}"

    def aliases(
        self, node: ast.Import | ast.ImportFrom
    ) -> Iterator[tuple[ast.alias, Import | None]]:
        """Yield each name of an import with what it brings of this package."""
        for alias in node.names:
            if isinstance(node, ast.Import):
                yield alias, self.resolve(alias.name, None)
            else:
                yield alias, None if node.level else self.resolve(node.module or "", alias.name)


def _names(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """Return the names that functions and classes in a statement bind, and those to keep.

    Kept are names that stand for something outside the functions at any place, fields of classes
    and parameters that a call may name.
    """
    bound: set[str] = set()
    kept: set[str] = set()

    def visit(node: ast.AST, visible: set[str]) -> None:
        kept.update(set(_identifiers(node)) - visible)
        if isinstance(node, ast.Global):
            kept.update(node.names)
        outside, inside = _parts(node)
        for child in outside:
            visit(child, visible)
        if isinstance(node, Comprehension):
            nodes = [each for loop in node.generators for each in ast.walk(loop.target)]
        else:
            nodes = list(_nodes_of_scope(inside))
        own = {name for each in nodes for name in _binds(each)}
        bound.update(own)
        if isinstance(node, ast.ClassDef):
            kept.update(own)
            own = set()
        elif isinstance(node, Function):
            named, others = _parameters(node)
            kept.update(named)
            own |= named | others
        bound.update(own)
        for child in inside:
            visit(child, visible | own)

    visit(statement, set())
    return bound, kept


def _parameters(function: Function) -> tuple[set[str], set[str]]:
    """Return the parameters that a call may name, and the others."""
    arguments = function.args
    named = {each.arg for each in [*arguments.args, *arguments.kwonlyargs]}
    others = [*arguments.posonlyargs, *filter(None, [arguments.vararg, arguments.kwarg])]
    if isinstance(function, ast.Lambda) and len(named) == 1 and not others:
        # Another name of the only parameter can break a call, not change what it does.
        return set(), named
    return named, {each.arg for each in others}


def _parts(node: ast.AST) -> tuple[list[ast.AST], list[ast.AST]]:
    """Return a node's parts that Python evaluates in the scope it stands in, and in its own."""
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, Comprehension):
        first, *others = node.generators
        elements = [child for child in children if not isinstance(child, ast.comprehension)]
        return [first.iter], [first.target, *first.ifs, *others, *elements]
    if isinstance(node, Function | ast.ClassDef):
        body: list[ast.AST] = [*node.body] if isinstance(node.body, list) else [node.body]
        return [child for child in children if child not in body], body
    return children, []


def _nodes_of_scope(nodes: Iterable[ast.AST], looped: bool = False) -> Iterator[ast.AST]:
    """Yield the nodes of one scope; of comprehensions, which have their own, what binds outside."""
    for node in nodes:
        if not looped:
            yield node
        elif isinstance(node, ast.NamedExpr):
            yield node.target
        children = (
            _parts(node)[0]
            if isinstance(node, Function | ast.ClassDef)
            else ast.iter_child_nodes(node)
        )
        yield from _nodes_of_scope(children, looped or isinstance(node, Comprehension))


def _identifiers(node: ast.AST) -> Iterator[str]:
    """Yield the variables that a node names in the scope it stands in."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from map(_bound_by, node.names)
    elif not isinstance(node, ast.arg):
        names = getattr(node, IDENTIFIERS.get(type(node), ""), None) or []
        yield from names if isinstance(names, list) else [names]


def _binds(node: ast.AST) -> Iterator[str]:
    """Yield the variables that a node binds in the scope it stands in."""
    loads = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    if not loads and not isinstance(node, ast.Global | ast.Nonlocal):
        yield from _identifiers(node)


def _bound_by(alias: ast.alias) -> str:
    return alias.asname or alias.name.split(".")[0]


def _is_idle(node: object) -> bool:
    """Return whether a statement never runs: a docstring, or imports for a type checker."""
    if isinstance(node, ast.If):
        return _is_named(node.test, "TYPE_CHECKING")
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _reads_names(tree: ast.Module) -> bool:
    """Return whether code may see names of its variables, as `locals()` and pandas queries do."""
    return any(
        (isinstance(node, ast.Name) and node.id in ("locals", "eval", "exec"))
        or (isinstance(node, ast.Call) and not node.args and _is_named(node.func, "vars", "dir"))
        or (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.search(r"@\w", node.value) is not None
        )
        for node in ast.walk(tree)
    )


def _is_named(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Name) and node.id in names
