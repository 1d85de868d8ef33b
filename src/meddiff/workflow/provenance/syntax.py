"""Python code in a form that is blind to what changes no result.

Comments, docstrings, formatting, names of local variables and where a module lies leave no trace.
Everything else does: constants, operators, attributes, keywords, public names, which variable is
meant.
"""

import ast
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

IGNORED_FIELDS = {"ctx", "kind", "type_comment", "type_params"}
"""Fields of a syntax tree that only some versions of Python have, or that say nothing of code."""

IDENTIFIERS = {
    ast.Name: "id",
    ast.arg: "arg",
    ast.FunctionDef: "name",
    ast.AsyncFunctionDef: "name",
    ast.ClassDef: "name",
    ast.ExceptHandler: "name",
    ast.MatchAs: "name",
    ast.MatchStar: "name",
    ast.MatchMapping: "rest",
    ast.Global: "names",
    ast.Nonlocal: "names",
}
"""Where a node names variables."""

OUTSIDE = {
    ast.FunctionDef: {"name", "decorator_list", "returns"},
    ast.AsyncFunctionDef: {"name", "decorator_list", "returns"},
    ast.ClassDef: {"name", "decorator_list", "bases", "keywords"},
    ast.arguments: {"defaults", "kw_defaults"},
    ast.arg: {"annotation"},
    ast.comprehension: {"iter"},
}
"""Fields of a scope's nodes that Python evaluates outside that scope; `iter` of the first loop."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
SCOPES = (Function, ast.Lambda, ast.ClassDef, Comprehension)


class Imported(NamedTuple):
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


Resolve = Callable[[str, str | None], Imported | None]
"""Find what `from module import name` (or `import module`) brings; None outside this package."""

LOCAL, GLOBAL = object(), object()


@dataclass(eq=False)
class _Scope:
    parent: "_Scope | None"
    names: dict[str, Any] = field(default_factory=dict)
    """What each name bound here stands for: itself, a number, LOCAL (no number yet), GLOBAL or
    something Imported."""
    is_class: bool = False
    first: ast.comprehension | None = None


def canonical_code(tree: ast.Module, resolve: Resolve) -> Code:
    """Return a module's code without what changes no result."""
    canonical = _Canonical(tree, resolve)
    syntax = hashlib.sha256(canonical.shape(tree, _Scope(None)).encode()).hexdigest()
    used = canonical.modules
    return Code(syntax, tuple(used), frozenset(canonical.imported - used.keys()))


class _Canonical:
    def __init__(self, tree: ast.Module, resolve: Resolve) -> None:
        self.resolve = resolve
        self.numbers = itertools.count()
        self.modules: dict[Path, int] = {}
        self.imported: set[Path] = set()
        self.by_name = _reads_names(tree)
        self.calls = _direct_calls(tree)
        self.module = _Scope(None)

    def shape(self, node: object, scope: _Scope) -> str:
        """Return a node as text that is the same under every version of Python.

        Versions differ in the fields that they give a node and in how they print empty ones.
        """
        if isinstance(node, list):
            shapes = (self.shape(each, scope) for each in node if not _is_idle(each))
            return f"[{','.join(filter(None, shapes))}]"
        if isinstance(node, ast.alias):
            nested = "." in node.name and node.asname is not None
            return f"alias({node.name},{nested},{self.name(_bound_by(node), scope)})"
        if isinstance(node, ast.Import | ast.ImportFrom):
            shape = self.imports(node, scope)
            if shape is not None:
                return shape
        if not isinstance(node, ast.AST):
            return repr(node)
        inner = self.enter(node, scope)
        if isinstance(node, ast.JoinedStr):
            node = ast.JoinedStr([each for each in node.values if not _is_empty(each)])
        fields = []
        for name, value in ast.iter_fields(node):
            if name in IGNORED_FIELDS or value is None:
                continue
            where = _scope_of(node, name, scope, inner)
            if IDENTIFIERS.get(type(node)) == name:
                names = value if isinstance(value, list) else [value]
                shape = ",".join(self.name(each, where) for each in names)
            else:
                shape = self.shape(value, where)
            if shape != "[]":
                fields.append(f"{name}={shape}")
        return f"{type(node).__name__}({','.join(fields)})"

    def name(self, name: str, scope: _Scope) -> str:
        """Return what a name stands for where it is used: itself or a number."""
        place: _Scope | None = scope
        while place:
            if name in place.names and (place is scope or not place.is_class):
                meaning = place.names[name]
                if meaning is GLOBAL:
                    return self.name(name, self.module)
                if meaning is LOCAL:
                    meaning = place.names[name] = next(self.numbers)
                return self.number(meaning) if isinstance(meaning, Imported) else repr(meaning)
            place = place.parent
        return repr(name)

    def number(self, imported: Imported) -> str:
        """Return an imported name with the number of its module."""
        if imported.file is None:
            return f"import({imported.name!r})"
        number = self.modules.setdefault(imported.file, len(self.modules))
        return f"import({number},{imported.name!r})"

    def imports(self, node: ast.Import | ast.ImportFrom, scope: _Scope) -> str | None:
        """Return the shape of an import of this package, less what its names tell; else None."""
        aliases = list(self.aliases(node))
        if not any(imported for _, imported in aliases):
            return None
        shapes = []
        for alias, imported in aliases:
            if imported is None:
                shapes.append(self.shape(alias, scope))
                continue
            if imported.file:
                self.imported.add(imported.file)
            bound = _bound_by(alias)
            if scope.names[bound] != imported:
                shapes.append(f"{self.name(bound, scope)}={self.number(imported)}")
        return ",".join(shapes)

    def aliases(
        self, node: ast.Import | ast.ImportFrom
    ) -> Iterator[tuple[ast.alias, Imported | None]]:
        """Yield each name of an import with what it brings of this package."""
        for alias in node.names:
            if isinstance(node, ast.Import):
                yield alias, self.resolve(alias.name, None)
            else:
                yield alias, None if node.level else self.resolve(node.module or "", alias.name)

    def enter(self, node: ast.AST, scope: _Scope) -> _Scope:
        """Return the scope of a node's inside: its own, or the one that it stands in."""
        if isinstance(node, ast.Module):
            self.module = _Scope(None, self.bound(node.body))
            for name, meaning in self.module.names.items():
                # Other modules import public names, and none imports a private one.
                if meaning is LOCAL and (not name.startswith("_") or name.startswith("__")):
                    self.module.names[name] = name
            return self.module
        if isinstance(node, Comprehension):
            targets: list[ast.AST] = [loop.target for loop in node.generators]
            return _Scope(scope, self.bound(targets), first=node.generators[0])
        if isinstance(node, ast.ClassDef):
            names = self.bound(node.body)
            return _Scope(scope, {n: n if m is LOCAL else m for n, m in names.items()}, True)
        if isinstance(node, Function | ast.Lambda):
            body = node.body if isinstance(node.body, list) else [node.body]
            return _Scope(scope, self.bound(body) | self.parameters(node, scope))
        return scope

    def parameters(self, node: Function | ast.Lambda, scope: _Scope) -> dict[str, Any]:
        """Tell which parameters stand for themselves: those that a call may name."""
        arguments = node.args
        named = [each.arg for each in [*arguments.args, *arguments.kwonlyargs]]
        others = [*arguments.posonlyargs, *filter(None, [arguments.vararg, arguments.kwarg])]
        hidden = {each.arg for each in others}
        if isinstance(node, ast.Lambda):
            # Another name of the only parameter can break a call, not change what it does.
            hidden |= set(named) if len(named) == 1 and not others else set()
        elif node.name in self.calls and self.is_hidden(node.name, scope):
            hidden |= set(named) - self.calls[node.name] if not node.decorator_list else set()
        return {
            name: LOCAL if name in hidden and not self.by_name else name
            for name in [*named, *(each.arg for each in others)]
        }

    def is_hidden(self, name: str, scope: _Scope) -> bool:
        """Tell whether only this file can call a function."""
        meaning = scope.names.get(name)
        return not scope.is_class and (meaning is LOCAL or isinstance(meaning, int))

    def bound(self, body: Iterable[ast.AST]) -> dict[str, Any]:
        """Return what the names that a scope's statements bind stand for."""
        names: dict[str, Any] = {}
        count: Counter[str] = Counter()
        outer: set[str] = set()
        for node in _nodes_of_scope(body):
            if isinstance(node, ast.Global | ast.Nonlocal):
                names |= dict.fromkeys(node.names, GLOBAL)
                outer |= set(node.names) if isinstance(node, ast.Nonlocal) else set()
            for name in _binds(node):
                count[name] += 1
                names.setdefault(name, name if self.by_name else LOCAL)
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias, imported in self.aliases(node):
                    nested = isinstance(node, ast.Import) and alias.asname is None
                    if imported and not nested and names[_bound_by(alias)] is not GLOBAL:
                        names[_bound_by(alias)] = imported
        for name, meaning in names.items():
            if isinstance(meaning, Imported) and count[name] > 1:
                names[name] = name if self.by_name else LOCAL
        return {name: meaning for name, meaning in names.items() if name not in outer}


def _nodes_of_scope(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes that bind names in one scope, and others, but none of scopes within."""
    waiting = [(node, False) for node in body]
    while waiting:
        node, looped = waiting.pop()
        if not looped:
            yield node
        elif isinstance(node, ast.NamedExpr):
            yield node.target  # an assignment in a comprehension binds outside it
        inside = isinstance(node, SCOPES) and not isinstance(node, Comprehension)
        children = _outside(node) if inside else ast.iter_child_nodes(node)
        looped = looped or isinstance(node, Comprehension)
        waiting += [(child, looped) for child in children]


def _outside(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a function or class that Python evaluates outside its scope."""
    arguments = getattr(scope, "args", None)
    for node in [scope, *(ast.walk(arguments) if arguments else ())]:
        for name in OUTSIDE.get(type(node), ()):
            value = getattr(node, name)
            values = value if isinstance(value, list) else [value]
            yield from (each for each in values if isinstance(each, ast.AST))


def _binds(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node binds in the scope that it stands in."""
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from map(_bound_by, node.names)
    elif not isinstance(node, ast.arg | ast.Global | ast.Nonlocal):
        name = getattr(node, IDENTIFIERS.get(type(node), ""), None)
        if name:
            yield name


def _bound_by(alias: ast.alias) -> str:
    return alias.asname or alias.name.split(".")[0]


def _scope_of(node: ast.AST, name: str, outer: _Scope, inner: _Scope) -> _Scope:
    """Return the scope in which Python evaluates a field of a node."""
    inside = name not in OUTSIDE.get(type(node), ())
    if inside or (isinstance(node, ast.comprehension) and node is not inner.first):
        return inner
    return outer if outer is not inner else inner.parent or inner


def _is_idle(node: object) -> bool:
    """Tell whether a statement never runs: a docstring, or imports for a type checker."""
    if isinstance(node, ast.If):
        return _is_named(node.test, "TYPE_CHECKING")
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_empty(node: ast.AST) -> bool:
    """Tell whether a part of an f-string is the empty text that only Python 3.12 has there."""
    return isinstance(node, ast.Constant) and node.value == ""


def _direct_calls(tree: ast.Module) -> dict[str, set[str]]:
    """Return the functions that are only ever called by name, with the keywords of those calls."""
    keywords: dict[str, list[str | None]] = {}
    uses: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            uses[node.id] += 1
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            uses[node.func.id] -= 1
            keywords.setdefault(node.func.id, []).extend(each.arg for each in node.keywords)
    return {
        name: {each for each in names if each is not None}
        for name, names in keywords.items()
        if uses[name] == 0 and None not in names
    }


def _reads_names(tree: ast.Module) -> bool:
    """Tell whether code may see names of its variables, as `locals()` and pandas queries do."""
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
