# Configuration, names and paths that every phase shares; checks before any job.

import os

from snakemake.exceptions import WorkflowError

VERSION = "0.1.0"
try:
    from meddiff import __version__ as installed

    if installed != VERSION:
        raise ImportError(f"{installed} is installed")
    from meddiff.cas.classifiers import HOG_SVM
    from meddiff.core.errors import MeddiffError
    from meddiff.data.registry import read_registry
    from meddiff.metrics.distances import DISTANCES
    from meddiff.metrics.similarity import PAIRS
    from meddiff.reporting.figures.numbers import drawings_of, figures_of
    from meddiff.workflow import conventions, families, imported, parameters
    from meddiff.workflow import sections, session, targets
    from meddiff.workflow.archives import Archives
    from meddiff.workflow.config import load_config, take_rebuild
    from meddiff.workflow.conventions import AUDIT, audited, matrices, one_of
    from meddiff.workflow.conventions import picture, result, shown, table
    from meddiff.workflow.paths import AUTOENCODER, Paths
    from meddiff.workflow.sharing.sync import keep_metadata, plan_unrecorded
except ImportError as error:
    raise WorkflowError(
        f"this workflow needs the package meddiff {VERSION} where Snakemake runs: {error}; "
        "`make env` in the project's folder, or pip install 'meddiff[workflow]' of the same version"
    )

ROOT = conventions.project_root(workflow.main_snakefile)
MAIN = session.is_main(workflow)

# On a busy machine OpenMP's threads otherwise spin while they wait and make nets run many times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ[imported.PROJECT] = str(ROOT)
FAMILIES_FILE = workflow.source_path("../../config/families.yaml")

try:
    REBUILD = take_rebuild(config)
    cfg = load_config(config)
    SHARED = session.begin(workflow, ROOT, Path.cwd(), cfg) if MAIN else {}
    FOLDER = sections.folder_params(cfg, ROOT)
    IMPORTED_SETS = imported.params_of_sets(cfg, ROOT)
    GUIDED = sections.guided_sets(cfg, session.targets_here(ROOT))
    FAMILIES = families.families_for(session.targets_here(ROOT), FAMILIES_FILE, cfg)
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
# Beside synthetic images and noise, real images that no DDPM learns from, if there are any.
SCORED = [*cfg.synthetic_sets, "noise", *([cfg.unseen_set] if cfg.unseen_set else [])]
SCORED_SETS = [*SCORED, *cfg.reference_sets]
MATRIX_SETS = ["train", "test", *cfg.synthetic_sets, "noise"]
UNLEARNT = [] if "test" in DDPM_SETS else ["test"]
GPU = 0 if cfg.compute.device == "cpu" else 1
REPORTED = sections.reported(workflow.source_path("../../config/reported.yaml"))
COMPARED = sorted({row["table"] for row in REPORTED})

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
    set=one_of({*MATRIX_SETS, *GUIDED} - {*SCORED_SETS}),
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
    session.end(workflow)


onerror:
    keep_metadata()
