# Configuration, names and input functions that every phase shares; checks before any job.

import os
import re
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake_interface_executor_plugins.settings import ExecMode

from meddiff.cas.registry import HOG_SVM, KINDS
from meddiff.workflow.config import load_config, take_rebuild
from meddiff.data.registry import published, read_registry
from meddiff.core.errors import MeddiffError
from meddiff.core.files import sha256_file
from meddiff.metrics.distances import DISTANCES
from meddiff.metrics.similarity import PAIRS
from meddiff.workflow.conventions import complete, result, shown
from meddiff.workflow.preflight import check_run
from meddiff.workflow.provenance.digests import folder_digest
from meddiff.workflow.provenance.fingerprint import fingerprint
from meddiff.workflow.provenance.store import recorded_params
from meddiff.reporting.reported import read_reported
from meddiff.workflow.sharing.sync import sync_metadata, keep_metadata
from meddiff.workflow.sharing.dag import plan_of
from meddiff.workflow.sharing.guard import check_rebuild
from meddiff.workflow.sharing.options import (
    check_options,
    is_dry,
    options_of_this_run,
)
from meddiff.workflow.sharing.readonly import enter_stand_in, is_read_only

ROOT = Path(workflow.basedir)
RUN = Path.cwd()
# Snakemake plans in the main process only, not in those of single jobs.
MAIN = workflow.exec_mode == ExecMode.DEFAULT

# On a busy machine OpenMP's threads otherwise spin while they wait and make nets run many times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

try:
    # No part of the configuration: allows a run to make again what is shared.
    REBUILD = take_rebuild(config)
    cfg = load_config(config)
    if MAIN:
        if options := options_of_this_run(ROOT):
            check_options(options)
        if is_read_only(RUN):
            enter_stand_in(RUN, planning=is_dry(options))
    SHARED = sync_metadata() if MAIN else {}
except MeddiffError as error:
    raise WorkflowError(str(error))

CLASSES = cfg.data.classes
# Settings of `cas` that change no training: how often, what else there is, how results are judged.
JUDGED = {"classifiers", "n_repeats", "specificity", "non_inferiority_margin"}
DDPM_FIGURES = ["curves", "previews", "denoising"]
# DDPMs trained elsewhere, by class.
IMPORTED = {
    name: override.checkpoint
    for name, override in cfg.diffusion.classes.items()
    if override.checkpoint
}
SPLITS = ["train", "validation", "test"]
SOURCE = cfg.source
TRAINED = cfg.trained_extractors
CLASSIFIERS = [name for name in TRAINED if name != "unet"]
HAS_MASKS = "unet" in TRAINED
# Nets that come with weights.
PUBLISHED = cfg.extractors.published
EXTRACTORS = TRAINED + PUBLISHED

ORIGIN = "phantom" if SOURCE.drawn else "published"
EDITIONS = list(cfg.data.phantom.editions if SOURCE.drawn else cfg.data.editions)
FOLDER = cfg.data.folder if cfg.data.source == "folder" else None
# The study trained its DDPMs on all images and compared with them; leak_free keeps test images out.
STUDY = cfg.protocol == "as_published"
DDPM_SETS = cfg.ddpm_sets
REFERENCE_SETS = cfg.reference_sets

GPU = 0 if cfg.compute.device == "cpu" else 1
STAMP = {
    "data": cfg.data_name,
    "scale": cfg.scale,
    "protocol": cfg.protocol,
    "seed": cfg.seed,
}
# The audit of the data looks at both protocols.
DATA_STAMP = {key: value for key, value in STAMP.items() if key != "protocol"}
# What the study printed, and our tables of the same cells.
PRINTED = [row.model_dump() for row in read_reported(ROOT / "config/published.yaml")]
COMPARED = (
    ["table_5_1", "table_5_2", "table_5_3", "cas_hog_svm"] if CLASSIFIERS else ["table_5_2"]
)
NO_MASKS = (
    {"unet": "no features: the U-Net needs lesion masks and data.folder.masks is not set"}
    if FOLDER and not HAS_MASKS
    else {}
)


def one_of(names):
    """Pattern of any of some names; of none, one that fits nothing."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


wildcard_constraints:
    file="|".join(map(re.escape, read_registry())),
    set="train|validation|test|synthetic|noise",
    split="train|validation|test",
    extractor=one_of(EXTRACTORS),
    net=one_of(["resnet50", *PUBLISHED]),
    similarity=one_of(PAIRS),
    edition=r"\w+",
    shard=r"\d+",
    images="synthetic|real",
    cls=r"[A-Za-z0-9_-]+",


def code(script):
    """Digest of a script and the library modules it uses: editing them reruns its jobs."""
    return fingerprint(ROOT / "workflow/scripts" / script)


def extractor_code(script, extractor):
    """Digest of a script and of the one extractor that it builds."""
    return [code(script), code(f"../../src/meddiff/extractors/{extractor}.py")]


def extractor_settings(wildcards):
    """How an extractor is trained."""
    return getattr(cfg.extractors, wildcards.extractor)


def extractor_checkpoint(wildcards):
    """Where an extractor's weights lie."""
    folder = "models/pretrained" if wildcards.extractor in PUBLISHED else "models"
    return f"{folder}/{wildcards.extractor}.safetensors"


def image_sets(sets, cls="{cls}"):
    """Image sets of one class, or of several."""
    return expand("data/images/{set}/{cls}.npy", set=sets, cls=cls, allow_missing=True)


def rows_of(*sets):
    """Tables of the rows of image sets, of every class."""
    return expand("data/images/{set}/{cls}.csv", set=sets, cls=CLASSES)


def raw(files, origin=ORIGIN):
    """Where files of the registry lie, by role."""
    return {role: f"data/raw/{origin}/{file}" for role, file in files.items()}


def image_archives():
    """Archives that the images are read from; a folder's files are watched as a parameter."""
    return [
        path
        for version in (EDITIONS if SOURCE.challenge else [None])
        for role, path in raw(published(SOURCE.archives, version)).items()
        if role == "images" or not SOURCE.challenge
    ]


def kaggle_archives(origin=ORIGIN):
    """One archive an edition, with the images at 224 px."""
    return [raw(published("kaggle", edition), origin)["images"] for edition in EDITIONS]


def challenge_tables(origin=ORIGIN):
    """What the ISIC challenge tells of its images, apart from the images."""
    return [
        path
        for edition in EDITIONS
        for role, path in raw(published("isic", edition), origin).items()
        if role != "images"
    ]


def isic2016_archives(origin=ORIGIN):
    """Images and masks of ISIC 2016, training and test, by name."""
    return raw(published("isic", "2016"), origin)


def folder_params():
    """How to read the user's folder, and digests of what is in it, wherever it lies.

    Where the folder itself is not here, the record's digests stand for it.
    """
    if FOLDER is None:
        return {}
    recorded = recorded_params("data/images/index.csv").get("folder") or {}
    try:
        contents = {
            key: folder_digest(path) or recorded.get("contents", {}).get(key)
            for key, path in FOLDER.paths(ROOT).items()
        }
    except (MeddiffError, OSError) as error:
        raise WorkflowError(str(error))
    return {**FOLDER.model_dump(exclude={"name", *contents}), "contents": contents}


def preprocessing():
    """Crop, size, colour and decoding of the images."""
    return cfg.data.model_dump(include={"crop", "size", "decoding"}) | {"grey": cfg.data.is_grey}


def split_fractions(held_out):
    """Share of each split; what is not held out is for training."""
    shares = held_out.model_dump()
    return {"train": 1 - sum(shares.values()), **shares}


def compared(sets):
    """Image sets that features are computed of: real ones may be changed as training images are."""
    return [f"augmented-{name}" if cfg.metrics.augment_real and name in SPLITS else name for name in sets]


def sampler_settings():
    """How images of a class are drawn, however many."""
    return cfg.sampling.model_dump(exclude={"images", "shards"})


def cas_settings(wildcards):
    """What a classifier's training depends on."""
    if wildcards.classifier == HOG_SVM:
        return cfg.cas.model_dump(include={"arms", "hog_svm"})
    return cfg.cas.model_dump(exclude={"hog_svm", "dose", *JUDGED})


def dose_settings():
    """What the trainings of the dose-response depend on."""
    return cfg.cas.model_dump(
        exclude={"arms": True, "hog_svm": True, "dose": {"n_repeats", "max_synthetic_per_class"}}
        | dict.fromkeys(JUDGED, True)
    )


def planned_downloads(dag):
    """Files of the registry that a run is about to fetch."""
    place = raw({"all": ""}, "published")["all"]
    made = [path for job in dag.needrun_jobs() for path in job.output]
    return [path.removeprefix(place) for path in made if path.startswith(place)]


def other_tables():
    """Tables of runs elsewhere in the project: a comparison shows them if they are there."""
    runs = {"root": ROOT} | {
        path.name: path for path in sorted((ROOT / "runs").glob("*"))
    }
    return [
        {
            "run": name,
            "path": os.path.relpath(table, RUN),
            "sha256": sha256_file(table),
        }
        for name, run in runs.items()
        if run != RUN
        for table in sorted(run.glob("results/*.csv"))
        if table.stem in COMPARED
    ]


def final_outputs():
    """Every table and figure; those of classifiers where there are two classes to tell apart."""
    return [
        "results/table_5_2.csv",
        *(classifier_outputs() if CLASSIFIERS else []),
        *expand("results/samples/{cls}.png", cls=CLASSES),
        "results/sample_checks.csv",
        # Without images that no DDPM has learnt from there is nothing to compare copies with.
        *([] if "test" in DDPM_SETS else ["results/memorisation.csv"]),
        "results/figures/image_sets.png",
        *expand("results/figures/ddpm/{cls}_{figure}.png", cls=CLASSES, figure=DDPM_FIGURES),
        *expand("results/figures/extractors/{name}_curves.png", name=TRAINED),
        *expand("results/matrices/{measure}.{kind}", measure=MEASURES, kind=["csv", "png"]),
        *expand("results/figures/data/images-{cls}.png", cls=CLASSES),
        *(segmentation_figures() if HAS_MASKS else []),
        *expand("results/audit/{name}.csv", name=AUDITED),
        "results/audit/near_duplicates.png",
    ]


def classifier_outputs():
    """Tables and figures of extractors and classifiers trained on two classes or more."""
    return [
        "results/table_5_1.csv",
        "results/table_5_3.csv",
        "results/cas_hog_svm.csv",
        "results/dose_response.csv",
        "results/figures/cas/arms.png",
        "results/verdict.md",
    ]


def segmentation_figures():
    """What the U-Net learns from, and what it finds."""
    return [
        "results/figures/data/segmentation.png",
        "results/figures/extractors/segmentation.png",
    ]


onstart:
    try:
        if not REBUILD:
            asked = workflow.dag_settings.targets
            check_rebuild(plan_of(workflow.dag, ROOT), SHARED, asked)
        check_run(planned_downloads(workflow.dag), cfg.data.mirrors)
    except MeddiffError as error:
        raise WorkflowError(str(error))


onsuccess:
    keep_metadata()


onerror:
    keep_metadata()
