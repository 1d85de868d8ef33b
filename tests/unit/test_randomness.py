"""Random streams have names: no two purposes draw the same numbers, and nothing draws without."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT
from meddiff.core import randomness
from meddiff.core.randomness import stream, stream_seed
from meddiff.data.phantom.archives import write_isic2016, write_kaggle_edition, write_mednist
from meddiff.data.phantom.challenge import write_challenge_tables
from meddiff.data.phantom.plan import plan_editions
from meddiff.data.registry import registered_files


@pytest.fixture
def drawn(monkeypatch):
    """Names of the streams that are drawn from, with their seeds."""
    keys: dict[tuple[int | str, ...], int] = {}

    def recorded(*key: int | str) -> int:
        return keys.setdefault(key, stream_seed(*key))

    monkeypatch.setattr(randomness, "stream_seed", recorded)
    return keys


def test_no_two_purposes_of_the_phantom_draw_the_same_numbers(drawn, tmp_path):
    """Hands, ISIC 2016 and the plan once began with one seed's numbers; so would any that share."""
    write_mednist(tmp_path / "m.tar.gz", seed=0, n=3)
    write_isic2016(*[tmp_path / f"{n}.zip" for n in range(4)], seed=0, n_train=2, n_test=1)
    counts = {"2018": {"benign": 8, "malignant": 6}, "2019": {"benign": 8, "malignant": 6}}
    plan = plan_editions(0, counts, 0.2, 0.4)
    for edition, rows in plan.groupby("edition"):
        write_kaggle_edition(tmp_path / "e.zip", rows, size=32)
        files = {role: tmp_path / role for role in registered_files("isic", edition)}
        write_challenge_tables(edition, files, rows)
    purposes = {str(key[1]) for key in drawn}
    assert {"phantom hand", "phantom isic2016", "phantom plan"} <= purposes and len(purposes) == 10
    assert all(str(purpose).startswith("phantom ") for purpose in purposes)
    first = {key: stream(*key).random() for key in drawn}
    assert len(set(first.values())) == len(drawn) == len(set(drawn.values()))


GENERATORS = {"default_rng", "RandomState", "Generator", "manual_seed", "SeedSequence", "PCG64"}
GIVEN = {"diffusion/training/objective.py"}
"""Draws from a seed that is given to it."""
SEED = "random_state"
"""scikit-learn's name; a torch `generator` is judged where it is made."""
NAMED = {"stream", "stream_seed", "_fold_seed"}


def calls_of(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def seeds_of(node: ast.AST) -> Iterator[ast.AST]:
    """What a call or a dictionary of its arguments draws from."""
    if isinstance(node, ast.Call):
        yield from (kw.value for kw in node.keywords if kw.arg == SEED)
        if name_of(node) in GENERATORS:
            yield node
    elif isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        yield from (v for key, v in pairs if isinstance(key, ast.Constant) and key.value == SEED)
    elif (
        isinstance(node, ast.Attribute)
        # NumPy's global generator; as a type, and as one that is made anew, it is another matter.
        and ast.unparse(node).startswith("np.random.")
        and node.attr not in GENERATORS
    ):
        yield node


def unnamed(path: Path) -> Iterator[str]:
    """Generators and seeds of a file that no named stream gives."""
    tree = ast.parse(path.read_text())
    # `torch.Generator(device).manual_seed(…)` is judged by its seed.
    seeded = {
        id(call.func.value)
        for call in calls_of(tree)
        if name_of(call) == "manual_seed" and isinstance(call.func, ast.Attribute)
    }
    for node in ast.walk(tree):
        for seed in seeds_of(node) if id(node) not in seeded else ():
            if not any(name_of(call) in NAMED for call in calls_of(seed)):
                yield f"{path}: {ast.unparse(node)}"


def test_every_generator_is_named():
    """One that is not may draw what another draws, or depend on what was drawn before."""
    package = ROOT / "src/meddiff"
    own = {package / "randomness.py", *(package / name for name in GIVEN)}
    files = {*package.rglob("*.py"), *(ROOT / "workflow/scripts").glob("*.py")} - own
    assert [line for path in sorted(files) for line in unnamed(path)] == []


@pytest.mark.parametrize(
    "code",
    ["np.random.default_rng(3)", "np.random.default_rng([seed, 1])", "torch.manual_seed(seed)",
     "KFold(5, random_state=0 + seed)", "np.random.normal()", "f(**{'random_state': seed})"],
)  # fmt: skip
def test_an_unnamed_generator_is_found(tmp_path, code):
    (tmp_path / "a.py").write_text(code)
    assert list(unnamed(tmp_path / "a.py"))
    (tmp_path / "a.py").write_text("torch.manual_seed(stream_seed(seed, 'weights'))")
    assert not list(unnamed(tmp_path / "a.py"))


def test_the_same_name_draws_the_same_and_another_name_another():
    assert stream(0, "a", 1).random() == stream(0, "a", 1).random()
    seeds = {stream_seed(*key) for key in ((0, "a"), (0, "b"), (1, "a"), (0, "a", 0), (0, "a0"))}
    assert len(seeds) == 5 and all(0 <= seed < 2**63 for seed in seeds)
