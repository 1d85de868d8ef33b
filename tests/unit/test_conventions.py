"""What every rule gets beside what it says."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import ROOT
from meddiff.core.settings import ComputeSettings
from meddiff.workflow import conventions
from meddiff.workflow.config import Config
from meddiff.workflow.conventions import (
    BEFORE_ALL,
    BUILDS,
    DEVICE,
    LAST,
    PAIRS,
    PORTIONS,
    WORKERS,
    complete,
    cuda_in_sight,
)
from meddiff.workflow.parameters import by_script
from meddiff.workflow.provenance.fingerprint import PACKAGE, fingerprint

SCRIPTS = {path.name: path for path in (ROOT / "workflow/scripts").glob("*.py")}


class Rule:
    """What `complete` uses of one of Snakemake's rules."""

    log_modifier = benchmark_modifier = output_modifier = conda_env = None

    def __init__(self, script: str, priority: int = 0, **resources: int) -> None:
        self.name, self.script, self.priority = "x", f"../scripts/{script}", priority
        self.output, self.log, self.benchmark = ["{set}/{cls,a|b}.csv"], [], None
        self.params: dict[str, Any] = {}
        self.resources: dict[str, Any] = {"_cores": SimpleNamespace(value=1)} | resources

    def set_log(self, path: str, **named: str) -> None:
        self.log = [path, *named.values()]

    def set_params(self, **params: Any) -> None:
        self.params |= params


def completed(
    rule: Rule,
    device: str,
    settings: Mapping[str, Any] | None = None,
    threads: Mapping[str, int] | None = None,
) -> Rule:
    compute = ComputeSettings(device=device, threads=2)  # type: ignore[arg-type]
    complete(rule, lambda name: str(SCRIPTS[name]), settings or {}, compute, threads or {})
    return rule


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_what_many_jobs_wait_for_goes_first(device: str) -> None:
    order = [
        completed(Rule("image_sets.py"), device),  # with workers, whose cores a training would hold
        completed(Rule("train_ddpm.py", priority=1), device),
        completed(Rule("features.py"), device),
        completed(Rule("cas_arms.py"), device),
    ]
    assert [rule.priority for rule in order] == [BEFORE_ALL, 2, 1, 0]
    assert order[0].priority > 16 * order[1].priority  # Snakemake compares sums
    assert completed(Rule("distances.py"), device).priority == 0


@pytest.mark.parametrize("script", sorted(PAIRS))
def test_pairs_ask_for_a_gpu_where_there_is_one(script: str) -> None:
    assert completed(Rule(script), "cuda").resources["gpu"] == 1
    for device in ("cpu", "mps"):
        assert "gpu" not in completed(Rule(script), device).resources


def test_a_gpu_is_in_sight_where_its_driver_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conventions, "DRIVERS", [str(tmp_path / "driver")])
    assert not cuda_in_sight("auto")
    assert "gpu" not in completed(Rule("similarity.py"), "auto").resources
    (tmp_path / "driver").touch()
    assert cuda_in_sight("auto")


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_a_script_with_nets_asks_for_a_gpu_and_threads(script: str) -> None:
    """The device is what `job` yields: whoever computes on it under another name is missed."""
    text = SCRIPTS[script].read_text()
    assert DEVICE in text or not re.search(r"job\(snakemake\) as|\bdevice=", text)
    nets = DEVICE in text and script not in PAIRS
    for device, gpus in {"cpu": 0, "cuda": 1, "auto": 1}.items():
        rule = completed(Rule(script), device)
        assert rule.resources.get("gpu", "none") == gpus or not nets
    shares = "snakemake.threads" in text
    assert shares == (PORTIONS in text)
    cores = completed(Rule(script), "cpu").resources["_cores"]
    assert (cores == 2) == nets and (cores == WORKERS) == shares
    fixed = completed(Rule(script), "cpu", threads={"x": 1}).resources["_cores"]
    assert fixed == SimpleNamespace(value=1)


def test_a_rule_keeps_what_it_says_itself() -> None:
    rule = Rule("features.py", gpu=4)
    rule.params = {"code": "mine", "seed": 1}
    rule.resources["_cores"] = SimpleNamespace(value=3)
    completed(rule, "cpu", {"features": {"seed": 2, "images": 9}})
    assert rule.params == {"code": "mine", "seed": 1, "images": 9}
    assert (rule.resources["gpu"], rule.resources["_cores"].value) == (4, 3)


def test_logs_lie_by_rule_and_wildcards() -> None:
    assert completed(Rule("features.py"), "cpu").log == ["logs/x/{set}-{cls}.log"]
    assert completed(Rule("train_ddpm.py"), "cpu").log[1] == "logs/x/{set}-{cls}_speed.csv"


def test_the_code_of_a_job_is_that_of_its_script_and_the_net_it_builds() -> None:
    def code_of(script: str, settings: Mapping[str, Any], **wildcards: str) -> Any:
        return completed(Rule(script), "cpu", settings).params["code"](wildcards)

    nets = {name: fingerprint(PACKAGE / f"extractors/{name}.py") for name in ("unet", "skinlesnet")}
    script = {name: fingerprint(path) for name, path in SCRIPTS.items()}
    assert code_of("split.py", {}) == script["split.py"]
    for name, net in nets.items():
        assert code_of("features.py", {}, extractor=name) == [script["features.py"], net]
        judged = {"family_scores": {"judge": name}}
        assert code_of("family_scores.py", judged) == [script["family_scores.py"], net]
    assert code_of("cas_arms.py", {}, classifier="hog_svm") == [script["cas_arms.py"]]
    assert code_of("cas_doses.py", {})[1] == nets["skinlesnet"]
    assert "code" not in completed(Rule("download.py"), "cpu").params


def test_scripts_named_are_there() -> None:
    assert SCRIPTS.keys() >= PAIRS | LAST | BUILDS.keys()
    assert {f"{name}.py" for name in by_script(Config())} <= SCRIPTS.keys()
