"""What every rule gets beside what it says."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import ROOT
from meddiff.workflow import conventions
from meddiff.workflow.conventions import LAST, PAIRS, complete, cuda_in_sight


class Rule:
    """What `complete` uses of one of Snakemake's rules."""

    log_modifier = benchmark_modifier = output_modifier = conda_env = None

    def __init__(self, script: str, priority: int = 0, **resources: int) -> None:
        self.name, self.script, self.priority = "x", f"../scripts/{script}", priority
        self.output, self.log, self.benchmark = ["{cls}.csv"], [], None
        self.params: dict[str, Any] = {}
        self.resources: dict[str, Any] = {"_cores": SimpleNamespace(value=1)} | resources

    def set_log(self, path: str) -> None:
        self.log = [path]

    def set_params(self, **params: Any) -> None:
        self.params |= params


def completed(script: str, device: str, priority: int = 0, **resources: int) -> Rule:
    rule = Rule(script, priority, **resources)
    complete(rule, lambda script: "", 2, device)
    return rule


def test_what_many_jobs_wait_for_goes_first_on_a_gpu() -> None:
    order = [
        completed("train_ddpm.py", "cuda", priority=1, gpu=1),
        completed("features.py", "cuda", gpu=1),
        completed("cas_arms.py", "cuda", gpu=1),
    ]
    assert [rule.priority for rule in order] == [2, 1, 0]
    assert completed("distances.py", "cuda").priority == 0
    assert completed("features.py", "cpu", gpu=0).priority == 0


@pytest.mark.parametrize("script", sorted(PAIRS))
def test_pairs_ask_for_a_gpu_where_there_is_one(script: str) -> None:
    assert completed(script, "cuda").resources["gpu"] == 1
    assert "gpu" not in completed(script, "cpu").resources


def test_a_gpu_is_in_sight_where_its_driver_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conventions, "DRIVERS", [str(tmp_path / "driver")])
    assert not cuda_in_sight("auto")
    assert "gpu" not in completed("similarity.py", "auto").resources
    (tmp_path / "driver").touch()
    assert cuda_in_sight("auto")


def test_nets_have_their_threads_and_pairs_on_the_cpu_one() -> None:
    assert completed("features.py", "cpu", gpu=0).resources["_cores"] == 2
    assert completed("similarity.py", "cpu").resources["_cores"].value == 1


def test_scripts_named_are_there() -> None:
    for script in PAIRS | LAST:
        assert (ROOT / "workflow/scripts" / script).is_file()
