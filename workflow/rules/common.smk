# Configuration, names and paths that every phase shares; checks before any job.

import os

from snakemake_interface_executor_plugins.settings import ExecMode

from meddiff.cas.classifiers import HOG_SVM
from meddiff.core.errors import MeddiffError
from meddiff.data.registry import read_registry
from meddiff.metrics.distances import DISTANCES
from meddiff.metrics.similarity import PAIRS
from meddiff.reporting.reported import read_reported
from meddiff.workflow import conventions, families, imported, sections, session
from meddiff.workflow.archives import Archives
from meddiff.workflow.config import load_config, take_rebuild
from meddiff.workflow.conventions import AUDIT, audited, matrices, one_of
from meddiff.workflow.conventions import picture, result, shown, table
from meddiff.workflow.parameters import parameters
from meddiff.workflow.paths import AUTOENCODER, Paths
from meddiff.workflow.provenance.digests import folder_digest
from meddiff.workflow.provenance.fingerprint import PACKAGE
from meddiff.workflow.sharing.sync import keep_metadata, plan_unrecorded
from meddiff.workflow.targets import final_outputs, page_inputs

ROOT = conventions.project_root(workflow.main_snakefile)
# Snakemake plans in the main process only, not in those of single jobs.
MAIN = workflow.exec_mode == ExecMode.DEFAULT

# On a busy machine OpenMP's threads otherwise spin while they wait and make nets run many times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ[imported.PROJECT] = str(ROOT)
FAMILIES_FILE = workflow.source_path("../../config/families.yaml")

try:
    # No part of the configuration: allows a run to make again what is shared.
    REBUILD = take_rebuild(config)
    cfg = load_config(config)
    SHARED = session.begin(workflow, ROOT, Path.cwd(), cfg) if MAIN else {}
    FOLDER = sections.folder_params(cfg, ROOT)
    IMPORTED_SETS = {
        name: each.params() for name, each in imported.imported_sets(cfg, ROOT).items()
    }
    FAMILIES = families.families_for(session.targets(ROOT), FAMILIES_FILE, cfg)
except (MeddiffError, OSError) as error:
    raise WorkflowError(str(error))

CLASSES, SPLITS = cfg.data.classes, ["train", "validation", "test"]
# Archives that the run reads, and those that it can draw.
RAW, DRAWN = Archives(cfg, drawn=cfg.source.drawn), Archives(cfg, drawn=True)
DDPMS, IMPORTED = cfg.ddpms, sections.imported_ddpms(cfg)
SOURCE, TRAINED, PRETRAINED = cfg.source, cfg.trained_extractors, cfg.extractors.pretrained
CLASSIFIERS, EXTRACTORS = [name for name in TRAINED if name != "unet"], TRAINED + PRETRAINED
# The study trained its DDPMs on all images and compared with them; leak_free keeps test images out.
STUDY, DDPM_SETS = cfg.protocol == "as_published", cfg.ddpm_sets
UNLEARNT = [] if "test" in DDPM_SETS else ["test"]
# Processes of a job whose results do not depend on their number; `--cores` limits them.
WORKERS = 4
GPU = 0 if cfg.compute.device == "cpu" else 1
REPORTED_NUMBERS = workflow.source_path("../../config/reported.yaml")
REPORTED = [row.model_dump() for row in read_reported(REPORTED_NUMBERS)]
COMPARED = sorted({row["table"] for row in REPORTED})
TEMPLATES = folder_digest(PACKAGE / "reporting/templates")

paths = Paths(cfg)
image_sets, rows_of, features = paths.image_sets, paths.rows_of, paths.features


wildcard_constraints:
    file=one_of(read_registry()),
    split="train|validation|test",
    extractor=one_of(EXTRACTORS),
    net=one_of(["resnet50", "alexnet", *PRETRAINED]),
    shard=r"\d+",
    images="synthetic|real",
    cls=one_of(CLASSES),
    generator=one_of(imported.other_generators(cfg)),
    imported=one_of(IMPORTED_SETS),
    family=one_of(FAMILIES),
    sampler="[^/]+",
    classifier=one_of([*cfg.cas.classifiers, HOG_SVM]),


def script_file(name):
    """Where a script lies, beside this file or fetched with it."""
    return workflow.source_path(f"../scripts/{name}")


onstart:
    try:
        session.check_jobs(workflow, cfg, ROOT, SHARED, OWN, rebuild=REBUILD)
    except MeddiffError as error:
        raise WorkflowError(str(error))


onsuccess:
    keep_metadata()


onerror:
    keep_metadata()
