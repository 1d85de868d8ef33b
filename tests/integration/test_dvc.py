"""`dvc.yaml` beside the workflow: in step with it, and useful to DVC's own commands."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml
from collaboration import TABLE, merge, new_project

from conftest import ROOT
from meddiff.core.errors import MeddiffError
from meddiff.workflow.config import load_config
from meddiff.workflow.sharing.dag import open_plan

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
LARGER = {"data": {"size": 64, "hand": {"size": 64}}}
"""Images in which more than one window fits."""
DEFAULTS = merge(yaml.safe_load((ROOT / "config/config.yaml").read_text()), LARGER)
TABLES = {name: f"results/{name}.csv" for name in STAGES}
READ_BY_OTHER_VALUES = ("data.folder", "data.editions", "extractors.files")


def watched(stage: str) -> list[str]:
    [[keys]] = [list(entry.values()) for entry in STAGES[stage]["params"]]
    return keys


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def candidates(value: Any) -> Iterator[Any]:
    """Other values of the same kind, one of which the configuration will take."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value * 2, value // 2, value - 1)
    elif isinstance(value, float):
        yield from (value * 0.5, value * 0.9, 0.25)
    elif isinstance(value, list):
        yield from (value[::-1], value[:-1], [not v for v in value], [False for _ in value])
        yield [v * 2 for v in value if not isinstance(v, str)]
        yield from (["radimagenet"], ["resnet50"])
    elif isinstance(value, dict):
        yield from ({"benign": 5}, {"benign": {"epochs": 5}}, {"b": "benign"},
                    {"clip": "clip.pth"})  # fmt: skip
    else:
        yield from ("as_published", "kaggle", "malignant", "fast", "hand", "epsilon", "linear",
                    "adam", "plateau", "none", "cpu", 3, "other", "20", 0.5, "ddpm", "bf16",
                    "large", "even")  # fmt: skip


def edits(key: str, value: Any) -> dict[str, Any] | None:
    """The smallest valid overlay that changes one value."""
    for other in candidates(value):
        overlay: dict[str, Any] = {}
        branch = overlay
        *parents, last = key.split(".")
        for name in parents:
            branch = branch.setdefault(name, {})
        branch[last] = other
        if last == "epochs":
            branch["steps"] = None
        try:
            if load_config(merge(deepcopy(DEFAULTS), overlay)) != load_config(DEFAULTS):
                return overlay
        except MeddiffError:
            continue
    return None


def test_stages_hold_the_outputs_of_their_tables(tmp_path):
    with open_plan([*TABLES.values(), "--directory", str(tmp_path)]) as plan:
        for name, table in TABLES.items():
            stage = STAGES[name]
            declared = [next(iter(out)) for key in ("outs", "metrics") for out in stage[key]]
            assert sorted(declared) == sorted(plan.producers[table].outputs)
            assert stage["cmd"].endswith(f"snakemake --cores 1 {table}")
            flags = [next(iter(out.values())) for key in ("outs", "metrics") for out in stage[key]]
            assert all(flag == {"persist": True} for flag in flags)


def tables_watching(key: str) -> frozenset[str]:
    return frozenset(
        name for name in TABLES if any(key == k or key.startswith(f"{k}.") for k in watched(name))
    )


def edits_by_section() -> Iterator[tuple[str, dict[str, Any]]]:
    """Edits of many keys at once: those of one section that the same tables watch."""
    together: dict[tuple[str, frozenset[str]], tuple[str, dict[str, Any]]] = {}
    for key, value in leaves(DEFAULTS):
        group = key.split(".")[0], tables_watching(key)
        overlay = edits(key, value)
        assert overlay is not None, f"{key}: no other value is valid"
        first, others = together.get(group, (key, {}))
        try:
            wider = merge(deepcopy(others), overlay)
            load_config(merge(deepcopy(DEFAULTS), wider))
        except MeddiffError:
            continue  # each is valid, both are not
        together[group] = first, wider
    yield from together.values()


def edits_by_key() -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in leaves(DEFAULTS):
        overlay = edits(key, value)
        assert overlay is not None, f"{key}: no other value is valid"
        yield key, overlay


@pytest.mark.parametrize(
    "all_edits", [edits_by_section, pytest.param(edits_by_key, marks=pytest.mark.slow)]
)
def test_stages_watch_the_values_that_their_tables_read(tmp_path, all_edits):
    """Change values of the configuration: a table's jobs change iff its stage watches them."""

    def jobs(overlay: dict[str, Any]) -> dict[str, list[str]]:
        file = tmp_path / "edit.yaml"
        file.write_text(yaml.safe_dump(merge(deepcopy(LARGER), overlay)))
        arguments = [*TABLES.values(), "--directory", str(tmp_path), "--configfile", str(file)]
        with open_plan(arguments) as plan:
            return {
                name: sorted(repr((s.rule, s.inputs, s.params)) for s in plan.behind([table]))
                for name, table in TABLES.items()
            }

    unchanged = jobs({})
    for key, overlay in all_edits():
        edited = jobs(overlay)
        for name in TABLES:
            reads = edited[name] != unchanged[name]
            watches = name in tables_watching(key)
            excused = watches and key.startswith(READ_BY_OTHER_VALUES)
            assert reads == watches or excused, f"{name}: {key} reads={reads} watches={watches}"


@pytest.fixture(scope="module")
def shared(smoke_run, programs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dvc")
    project = new_project(folder / "alice", smoke_run, programs)
    project.run("dvc", "remote", "add", "--quiet", "--default", "store", folder / "store")
    program = project.root / ".venv/bin"
    program.parent.mkdir()
    program.symlink_to(programs)
    project.meddiff("share")
    project.commit("Share")
    return project


@pytest.mark.slow
class TestCommands:
    def test_nothing_to_tell_after_a_share(self, shared):
        assert "up to date" in shared.run("dvc", "status").stdout
        assert "didn't change" in shared.run("dvc", "repro", "table_5_2").stdout

    def test_a_changed_value_its_numbers_and_its_plots(self, shared):
        shared.configure("cas: {batch_size: 8}")
        status = shared.run("dvc", "status").stdout
        assert "table_5_3" in status and "cas" in status and "table_5_2" not in status
        assert "cas.batch_size" in shared.run("dvc", "params", "diff").stdout
        shared.run("dvc", "repro", "table_5_3")
        metrics = json.loads(shared.run("dvc", "metrics", "diff", "--json", "--all").stdout)
        assert "synthetic" in json.dumps(metrics)
        told = shared.run("dvc", "plots", "diff").stdout
        page = shared.root / "dvc_plots/index.html"
        assert page.is_file(), told
        text = page.read_text()
        for title in ("Training loss of the DDPMs", "figures_cas_arms", "SkinLesNet"):
            assert title in text

    def test_repro_on_a_clone_rebuilds_nothing(self, shared, tmp_path):
        bob = shared.clone(tmp_path / "bob")
        bob.git("checkout", "--quiet", "main")
        (bob.root / ".venv").mkdir()
        (bob.root / ".venv/bin").symlink_to((shared.root / ".venv/bin").resolve())
        stopped = bob.run("dvc", "repro", "table_5_2", check=False)
        assert stopped.returncode != 0 and "meddiff restore" in stopped.stdout
        assert bob.files() == set()
        bob.meddiff("restore", TABLE)
        # DVC runs it since the table is not in its cache; Snakemake knows better.
        assert "Nothing to be done" in bob.run("dvc", "repro", "table_5_2").stdout
