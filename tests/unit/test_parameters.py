"""What jobs rerun for: the settings of their script, and paths of the files they read."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import ROOT
from meddiff.workflow.config import load_config
from meddiff.workflow.imported import compared_files
from meddiff.workflow.parameters import by_script
from meddiff.workflow.paths import Paths

WILDCARDS = SimpleNamespace(cls="benign", extractor="skinlesnet", classifier="skinlesnet",
                            net="resnet50")  # fmt: skip
EDITS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "diffusion.lr": (
        {"diffusion": {"lr": 0.1}},
        {"train_ddpm", "audit_trainings"},
    ),
    "diffusion.classes": (
        {"diffusion": {"classes": {"benign": {"epochs": 3}}}},
        {"train_ddpm"},
    ),
    "sampling.steps": ({"sampling": {"steps": 7}}, {"sample", "ddpm_figures"}),
    "sampling.shards": ({"sampling": {"shards": 3}}, set()),
    "compute": ({"compute": {"threads": 3, "device": "cuda"}}, set()),
    "split.test": ({"split": {"test": 0.2}}, {"split", "audit_leakage"}),
    "metrics.ssim": (
        {"metrics": {"ssim": {"sigma": 1.2}}},
        {"similarity", "similarity_matrix", "reconstruction"},
    ),
    "extractors.unet": ({"extractors": {"unet": {"steps": 5}}}, {"train_unet"}),
    "cas.hog_svm": ({"cas": {"hog_svm": {"folds": 3}}}, set()),
    "cas.non_inferiority_margin": ({"cas": {"non_inferiority_margin": 0.1}}, {"verdict"}),
    "data.phantom.hands": ({"data": {"phantom": {"hands": 9}}}, {"draw_mednist"}),
}
"""Edits of the configuration and the scripts whose jobs rerun, of the wildcards above."""


def values(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Parameters of every script's job of `WILDCARDS`."""
    return {
        script: {key: value(WILDCARDS) if callable(value) else value for key, value in own.items()}
        for script, own in by_script(load_config(settings)).items()
    }


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_the_parameters_of_what_reads_it(name: str) -> None:
    settings, scripts = EDITS[name]
    before, after = values({}), values(settings)
    assert before.keys() == after.keys()
    assert {script for script in before if before[script] != after[script]} == scripts


RULES = {"folder", "source", "published", "reported", "others", "drawings", "trainings", "steps",
         "first", "trained"}  # fmt: skip
"""Parameters that rules give."""


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/scripts").glob("*.py")), ids=str)
def test_every_parameter_that_a_script_reads_is_there(path: Path) -> None:
    read = set(re.findall(r"\bparams\.(\w+)", path.read_text().replace("snakemake.params", "")))
    assert read - RULES - {"code", "get"} <= {*values({}).get(path.stem, {})}


def test_generators_are_compared_by_the_same_files_of_each() -> None:
    cfg = load_config({"generators": {"gan": "x", "own": "this_run"}})
    own = ["metrics/distances/unet.csv", "metrics/similarity/synthetic.csv"]
    files = compared_files(cfg, own, ["cas/skinlesnet.csv"])
    assert files["quality"][:2] == own
    assert "metrics/generators/gan/distances/resnet50.csv" in files["quality"]
    assert files["copies"] == [
        "results/memorisation.csv", "metrics/generators/gan/memorisation.csv"
    ]  # fmt: skip
    assert files["predictions"] == ["cas/skinlesnet.csv", "cas/generators/gan/skinlesnet.csv"]
    study = load_config({"generators": {"gan": "x"}, "protocol": "as_published"})
    assert compared_files(study, own, [])["copies"] == []


def test_only_a_resnet50_starts_from_imagenet() -> None:
    paths = Paths(load_config({"extractors": {"pretrained": ["inception"]}}))
    for name, weights in (("resnet50", "models/pretrained/resnet50.safetensors"), ("unet", [])):
        # A generator may have any name.
        assert paths.imagenet({"generator": "resnet50", "classifier": name}) == weights
        assert paths.imagenet({"extractor": name}) == weights
    place = "models/pretrained/inception.safetensors"
    assert paths.extractor(SimpleNamespace(extractor="inception")) == place
    assert paths.extractor(SimpleNamespace(extractor="unet")) == "models/unet.safetensors"
