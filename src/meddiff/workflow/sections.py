"""Parts of the configuration, cut so that a job reruns for what it reads."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from meddiff.cas.classifiers import HOG_SVM
from meddiff.core.errors import MeddiffError
from meddiff.core.files import sha256_file
from meddiff.data.settings import SplitSettings
from meddiff.reporting.reported import read_reported
from meddiff.workflow.config import Config
from meddiff.workflow.provenance.digests import folder_digest
from meddiff.workflow.provenance.store import recorded_params

JUDGED = {"classifiers", "n_repeats", "specificity", "non_inferiority_margin"}
"""Settings of `cas` that change no training: how often, of what, how results are judged."""
COMPARED_WEIGHTS = {"guidance", "results/guidance.csv", "results/figures/guidance.png"}
"""Targets that `guidance.weights` are for: a rule and its files."""


def stamp(cfg: Config) -> dict[str, Any]:
    """Columns of every table that say which run made it."""
    names = {"scale": cfg.scale, "protocol": cfg.protocol, "seed": cfg.seed}
    return {"data": cfg.data_name, **names}


def imported_ddpms(cfg: Config) -> dict[str, str]:
    """Checkpoints of DDPMs that were trained elsewhere, by name."""
    overrides = cfg.diffusion.classes.items()
    return {
        name: override.checkpoint
        for name, override in overrides
        if override.checkpoint and name in cfg.ddpms.values()
    }


def origins(cfg: Config) -> dict[str, str]:
    """What of a class was made elsewhere, as notes of tables say it."""
    if cfg.real_only:
        return {}
    ddpms, imported = cfg.ddpms, imported_ddpms(cfg)
    notes = {name: "images made elsewhere" for name in cfg.data.classes if name not in ddpms}
    trained = [name for name in ddpms if ddpms[name] in imported]
    return notes | dict.fromkeys(trained, "DDPM trained elsewhere")


def table_notes(cfg: Config) -> dict[str, str]:
    """Notes of tables, by extractor: why a row is missing."""
    if cfg.data.source != "folder" or cfg.data.folder.masks:
        return {}
    return {"unet": "no features: the U-Net needs lesion masks and data.folder.masks is not set"}


def folder_params(cfg: Config, root: Path) -> dict[str, Any]:
    """How to read the user's folder, and digests of what is in it, wherever it lies.

    Where the folder itself is not here, the record's digests stand for it.

    Raises:
        MeddiffError: a path of the folder leads nowhere.
        OSError: a file in it cannot be read.
    """
    if cfg.data.source != "folder":
        return {}
    folder = cfg.data.folder
    recorded = recorded_params("data/images/index.csv").get("folder") or {}
    contents = {
        key: folder_digest(path) or recorded.get("contents", {}).get(key)
        for key, path in folder.paths(root).items()
    }
    return {**folder.model_dump(exclude={"name", *contents}), "contents": contents}


def split_fractions(held_out: SplitSettings) -> dict[str, float]:
    """Share of each split; what is not held out is for training."""
    shares = held_out.model_dump()
    return {"train": 1 - sum(shares.values()), **shares}


def sampler(cfg: Config, images: int | None, **changes: Any) -> dict[str, Any]:
    """How another number of images is drawn, with some settings changed."""
    settings = cfg.sampling.model_dump(exclude={"images", "shards"})
    return {**settings, "images": images, **changes}


def guided_sets(cfg: Config, targets: Collection[str]) -> list[str]:
    """Return an image set per weight of guidance, by which `results/guidance.csv` compares them.

    There are none without a net that can be guided.

    Raises:
        MeddiffError: they are among the targets, and there are none.
    """
    weights, settings = cfg.guidance.weights, cfg.diffusion
    if settings.conditional and (settings.label_dropout or not any(weights)):
        return [f"guided-{weight:g}" for weight in weights]
    if COMPARED_WEIGHTS & {str(target) for target in targets}:
        raise MeddiffError(
            f"guidance.weights {weights}: results/guidance.csv needs diffusion.conditional: true "
            "and a diffusion.label_dropout above 0"
        )
    return []


def cas_settings(cfg: Config, classifier: str) -> dict[str, Any]:
    """What a classifier's training depends on."""
    arms = {"arms": cfg.arms}
    if classifier == HOG_SVM:
        return arms | cfg.cas.model_dump(include={"hog_svm"})
    return cfg.cas.model_dump(exclude={"hog_svm", "dose", *JUDGED}) | arms


def dose_settings(cfg: Config) -> dict[str, Any]:
    """What the trainings of the dose-response depend on."""
    settings = cfg.cas.model_dump(exclude={"arms", "hog_svm", *JUDGED})
    del settings["dose"]["n_repeats"]
    most = settings["dose"].pop("max_synthetic_per_class")
    # A larger maximum shows in the images drawn for it.
    if most is not None and most < cfg.sampling.images:
        settings["dose"]["max_synthetic_per_class"] = most
    return settings


def reported(path: str | Path) -> list[dict[str, Any]]:
    """Return the study's printed numbers, as config/reported.yaml has them."""
    return [row.model_dump() for row in read_reported(path)]


def other_tables(root: Path, run: Path, names: list[str]) -> list[dict[str, str]]:
    """Tables of runs elsewhere in the project, for the comparison of runs."""
    runs = {"root": root} | {path.name: path for path in sorted((root / "runs").glob("*"))}
    return [
        {"run": name, "path": os.path.relpath(table, run), "sha256": sha256_file(table)}
        for name, folder in runs.items()
        if folder != run
        for table in sorted(folder.glob("results/*.csv"))
        if table.stem in names
    ]
