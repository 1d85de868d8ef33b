# Configuration, names and input functions that every phase shares; checks before any job.

import os

from snakemake_interface_executor_plugins.settings import ExecMode

from meddiff.cas.classifiers import HOG_SVM
from meddiff.workflow.config import load_config, take_rebuild
from meddiff.data.registry import read_registry
from meddiff.core.errors import MeddiffError
from meddiff.metrics.distances import DISTANCES
from meddiff.metrics.similarity import PAIRS
from meddiff.workflow.archives import Archives
from meddiff.workflow.conventions import across_nodes, complete, matrices, one_of, picture
from meddiff.workflow.conventions import project_root, result, shown, table
from meddiff.workflow.imported import imported_sets
from meddiff.workflow.parameters import cas_settings, dose_settings, folder_params
from meddiff.workflow.parameters import imported_ddpms, origins, other_tables, preprocessing
from meddiff.workflow.parameters import split_fractions, stamp, table_notes
from meddiff.workflow.provenance.digests import folder_digest
from meddiff.workflow.provenance.fingerprint import PACKAGE, fingerprint
from meddiff.reporting.figures.numbers import drawings_of, figures_of
from meddiff.reporting.reported import read_reported
from meddiff.workflow.session import begin, check_jobs, keep_hooks
from meddiff.workflow.sharing.sync import keep_metadata, plan_unrecorded
from meddiff.workflow.targets import final_outputs, page_inputs

ROOT = project_root(workflow.main_snakefile)
RUN = Path.cwd()
# Snakemake plans in the main process only, not in those of single jobs.
MAIN = workflow.exec_mode == ExecMode.DEFAULT

# On a busy machine OpenMP's threads otherwise spin while they wait and make nets run many times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

try:
    # No part of the configuration: allows a run to make again what is shared.
    REBUILD = take_rebuild(config)
    cfg = load_config(config)
    SHARED = begin(workflow, ROOT, RUN, cfg) if MAIN else {}
    FOLDER = folder_params(cfg, ROOT)
    IMPORTED_SETS = {name: each.params() for name, each in imported_sets(cfg, ROOT).items()}
except (MeddiffError, OSError) as error:
    raise WorkflowError(str(error))

CLASSES, SPLITS = cfg.data.classes, ["train", "validation", "test"]
AUTOENCODER, RESNET50 = "models/autoencoder.safetensors", "models/pretrained/resnet50.safetensors"
# Archives that the run reads, and those that it can draw.
RAW, DRAWN = Archives(cfg, drawn=cfg.source.drawn), Archives(cfg, drawn=True)
DDPMS, IMPORTED, ORIGINS = cfg.ddpms, imported_ddpms(cfg), origins(cfg)
SOURCE, TRAINED = cfg.source, cfg.trained_extractors
CLASSIFIERS = [name for name in TRAINED if name != "unet"]
PRETRAINED = cfg.extractors.pretrained
EXTRACTORS = TRAINED + PRETRAINED

# The study trained its DDPMs on all images and compared with them; leak_free keeps test images out.
STUDY = cfg.protocol == "as_published"
DDPM_SETS = cfg.ddpm_sets

SAMPLER = cfg.sampling.model_dump(exclude={"images", "shards"})
# Processes of a job whose results do not depend on their number; `--cores` limits them.
WORKERS = 4
GPU = 0 if cfg.compute.device == "cpu" else 1
STAMP = stamp(cfg)
SEEDED = {"classes": CLASSES, "seed": cfg.seed}
STAMPED = {"classes": CLASSES, "stamp": STAMP}
RESAMPLED = {"n_resamples": cfg.metrics.n_resamples, "stamp": STAMP}
DATA_STAMP = {key: value for key, value in STAMP.items() if key != "protocol"}  # audit: both
REPORTED_NUMBERS = workflow.source_path("../../config/reported.yaml")
REPORTED = [row.model_dump() for row in read_reported(REPORTED_NUMBERS)]
COMPARED = sorted({row["table"] for row in REPORTED})


wildcard_constraints:
    file=one_of(read_registry()),
    split="train|validation|test",
    extractor=one_of(EXTRACTORS),
    net=one_of(["resnet50", "alexnet", *PRETRAINED]),
    shard=r"\d+",
    images="synthetic|real",
    cls=one_of(CLASSES),


def code(script):
    """Digest of a script and the library modules it uses: editing them reruns its jobs."""
    return fingerprint(workflow.source_path(f"../scripts/{script}"))


def extractor_code(script, name):
    """Digest of a script, and of the one extractor that it builds where the name is that of one."""
    extractor = PACKAGE / f"extractors/{name}.py"
    return [code(script), *([fingerprint(extractor)] if extractor.is_file() else [])]


def extractor_checkpoint(wildcards):
    """Where an extractor's weights lie."""
    folder = "models/pretrained" if wildcards.extractor in PRETRAINED else "models"
    return f"{folder}/{wildcards.extractor}.safetensors"


def image_sets(sets, cls="{cls}"):
    """Image sets of one class, or of several."""
    return expand("data/images/{set}/{cls}.npy", set=sets, cls=cls, allow_missing=True)


def ddpm(form):
    """A file of the DDPM that draws a class."""
    return lambda wildcards: f"models/ddpm/{DDPMS[wildcards.cls]}{form}"


def learnt(sets):
    """Image sets that a DDPM learns from: of its class, or of all."""
    return lambda wildcards: image_sets(
        sets, list(DDPMS) if cfg.diffusion.conditional else wildcards.cls
    )


def rows_of(*sets):
    """Tables of the rows of image sets, of every class."""
    return expand("data/images/{set}/{cls}.csv", set=sets, cls=CLASSES)


def segmentation(kinds, form):
    """Images or masks of the U-Net's training and test sets, or tables of their rows."""
    return expand(
        "data/segmentation/{split}/{kind}.{form}", split=["train", "test"], kind=kinds, form=form
    )


def audited(name):
    """A table on the data."""
    return shown(f"results/audit/{name}.csv", AUDIT, table=name, shows=AUDITED[name])


def features(sets):
    """An extractor's features of image sets, of every class."""
    return expand("features/{{extractor}}/{set}/{cls}.npy", set=sets, cls=CLASSES)


def compared(sets):
    """Image sets that features are computed of: real ones may be changed as training images are."""
    return [
        f"augmented-{name}" if cfg.metrics.augment_real and name in SPLITS else name
        for name in sets
    ]


onstart:
    try:
        check_jobs(workflow, cfg, ROOT, SHARED, OWN, rebuild=REBUILD)
    except MeddiffError as error:
        raise WorkflowError(str(error))


onsuccess:
    keep_metadata()


onerror:
    keep_metadata()
