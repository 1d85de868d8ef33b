"""What rules share: a log, a benchmark, a digest of the code, and outputs for the report."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from snakemake.exceptions import WorkflowError
from snakemake.io import report

from meddiff.core.settings import ComputeSettings
from meddiff.workflow.provenance.fingerprint import PACKAGE, absent_imports, fingerprint

ENVIRONMENT = "../envs/meddiff.yaml"
"""The conda environment of all rules, from the folder of their file."""
UNTRACKED = {"download.py"}
"""Scripts without a digest: checksums judge downloads, and no edit may fetch 23 GB again."""
BUILDS = {"cas_arms.py": "{classifier}", "cas_doses.py": "skinlesnet", "features.py": "{extractor}",
          "family_scores.py": "{judge}", "pretrained_weights.py": "{net}",
          "train_classifier.py": "{extractor}"}  # fmt: skip
"""Nets that scripts build by name, of a wildcard or parameter: their code is part of a job's."""
DEVICE = "with job(snakemake) as device:"
"""What stands in a script that computes on the device of its job."""
PORTIONS = "workers=snakemake.threads"
"""What stands in a script whose worker processes share its work; results do not depend on them."""
WORKERS = 4
"""Worker processes of such a script; `--cores` limits them."""
BEFORE_ALL = 100
"""Priority of such a script: it needs cores that a training, once started, holds for hours. It
outweighs the sum of those that could start instead, which Snakemake compares."""
PAIRS = {"similarity.py", "similarity_matrix.py"}
"""Scripts without nets that compute on a GPU where there is one."""
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What is there with a GPU that torch calls cuda: NVIDIA's, AMD's, and either under Windows."""
TIMED = {"train_ddpm.py"}
"""Scripts whose log of the time that steps take is `<stem>_speed.csv`, beside that of words."""
LAST = {"cas_arms.py", "cas_doses.py", "audit_halves.py", "audit_trainings.py",
        "ddpm_figures.py", "segmentation_figures.py"}  # fmt: skip
"""Scripts that compute on a device when no others wait for it: little follows from them."""
OUTPUT_FOLDERS = ("data/images", "data/segmentation", "models", "predictions",
                  "features", "metrics", "cas", "results")  # fmt: skip
"""Folders of the run directory that only rules write to."""
AUDIT = "Audit of the data"
AUDITED = {
    "archives": "what is listed, there and used",
    "labels": "diagnoses under each label policy",
    "overlap": "images of an edition again in another",
    "leakage": "images, lesions, patients across splits",
    "copies": "the same, with every image listed twice",
    "encoding": "labels predicted from encodings",
}
"""Tables on the data that train nothing, and what they show."""
AUDITED_BY_NETS = {"halves": "distances by chance", "trainings": "faults of training"}
FOLDERS = (*dict.fromkeys(path.split("/")[0] for path in OUTPUT_FOLDERS), "logs")
"""Folders of the run directory that a run writes to."""


def project_root(snakefile: str) -> Path:
    """Return where the paths of the configuration start: the folder of Snakemake's main Snakefile.

    In Snakemake's own layout, `workflow/Snakefile`, it is the folder above. A Snakefile that is
    fetched from elsewhere has none: then it is the working directory.
    """
    if not Path(snakefile).is_file():
        return Path.cwd()
    folder = Path(snakefile).resolve().parent
    return folder.parent if folder.name == "workflow" else folder


def complete(
    rule: Any,
    source: Callable[[str], str],
    settings: Mapping[str, Mapping[str, Any]],
    compute: ComputeSettings,
    threads: Mapping[str, Any],
) -> None:
    """Give a rule of Snakemake what it does not set itself.

    Its log is `logs/<rule>/<wildcards>.log`, its benchmark lies beside that, and its parameters are
    the settings that its script depends on and `code`, the digest of the script. A script that
    computes on its job's device asks for a GPU, and for the threads of nets on a CPU; a script
    with worker processes asks for one thread for each. Where a GPU is in sight pairs of images are
    measured on it. What many jobs wait for goes first, so that no core waits in the end and the
    CPU's work is done beside the GPU's.

    Args:
        rule: the rule.
        source: where a script of that name lies.
        settings: parameters by script.
        compute: where jobs run.
        threads: those that the command line sets (`--set-threads`), by rule.

    Raises:
        WorkflowError: the script imports what this package has not: it is of another version.
    """
    if not rule.script:
        return
    script = PurePath(rule.script).name
    if absent := absent_imports(source(script)):
        raise WorkflowError(
            f"workflow/scripts/{script} imports {', '.join(absent)}, which the package meddiff in "
            f"{PACKAGE} has not: install the package in the version of the workflow"
        )
    _complete_logs(rule)
    _complete_params(rule, script, source, settings.get(PurePath(script).stem, {}))
    rule.conda_env = rule.conda_env or ENVIRONMENT
    on_cuda = cuda_in_sight(compute.device)
    text = _text(source(script))
    is_free = rule.name not in threads and rule.resources["_cores"].value == 1
    if PORTIONS in text:
        rule.priority += BEFORE_ALL
        if is_free:
            rule.resources["_cores"] = WORKERS
    if DEVICE in text and (on_cuda or script not in PAIRS):
        if "gpu" not in rule.resources:
            rule.resources["gpu"] = 0 if compute.device == "cpu" else 1
        if script not in PAIRS and is_free:
            rule.resources["_cores"] = compute.threads
        if script not in LAST:
            rule.priority += 1


@cache
def _text(script: str) -> str:
    """Return a script, which several rules may share."""
    return Path(script).read_text()


def _complete_logs(rule: Any) -> None:
    # In the order of the path, which Snakemake's own set of names does not keep.
    wildcards = dict.fromkeys(re.findall(r"\{(\w+)[,}]", str(next(iter(rule.output), ""))))
    place = "-".join(f"{{{name}}}" for name in wildcards)
    stem = f"logs/{rule.name}/{place}" if place else f"logs/{rule.name}"
    rule.log_modifier = rule.benchmark_modifier = rule.output_modifier
    if not rule.log:
        timed = PurePath(rule.script).name in TIMED
        rule.set_log(f"{stem}.log", **({"speed": f"{stem}_speed.csv"} if timed else {}))
    if not rule.benchmark:
        rule.benchmark = f"{stem}.benchmark.tsv"


def _complete_params(
    rule: Any, script: str, source: Callable[[str], str], settings: Mapping[str, Any]
) -> None:
    own = dict(rule.params.items())

    def code(wildcards: Any) -> str | list[str]:
        digest = fingerprint(source(script))
        if script not in BUILDS:
            return digest
        name = BUILDS[script].format(**{**settings, **own, **dict(wildcards.items())})
        net = PACKAGE / f"extractors/{name}.py"
        return [digest, *([fingerprint(net)] if net.is_file() else [])]

    complete_ones = {**settings, **({} if script in UNTRACKED else {"code": code})}
    rule.set_params(**{name: value for name, value in complete_ones.items() if name not in own})


def across_nodes(nodes: int) -> dict[str, Any]:
    """Return the resources of a job that starts itself on several machines of Slurm.

    With `mpi` Snakemake's executor asks for all of them and starts the job on the first alone, and
    GPUs are counted over all of them.
    """
    if nodes == 1:
        return {}
    return {"mpi": "srun", "nodes": nodes, "tasks": nodes, "tasks_per_gpu": 0}


def cuda_in_sight(device: str) -> bool:
    """Return whether `compute.device` is a GPU of CUDA, without the seconds that torch takes."""
    return device == "cuda" or (device == "auto" and any(map(os.path.exists, DRIVERS)))


def one_of(names: Iterable[str]) -> str:
    """Return a pattern of any of some names; of none, one that fits nothing."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def shown(path: str, category: str, caption: str = "", **labels: str) -> Any:
    """Mark an output for the HTML report; its caption is workflow/report/<caption>.rst."""
    caption = f"../report/{caption or PurePath(path).stem}.rst"
    return report(path, caption=caption, category=category, labels=labels)


def table(path: str, title: str, shows: str) -> Any:
    """Mark a table for the HTML report; see `shown`."""
    return shown(path, "Tables", table=title, shows=shows)


def picture(name: str, figure: str, caption: str = "") -> Any:
    """Mark a picture, `results/figures/<name>.png`, for the HTML report; see `shown`."""
    category = "Training" if name.endswith(("_curves", "_previews")) else "Images"
    category = "Training on synthetic images" if name.startswith("cas/") else category
    return shown(f"results/figures/{name}.png", category, caption, figure=figure)


def curves(name: str) -> Any:
    """Mark an extractor's curves for the HTML report; see `shown`."""
    return picture(f"extractors/{name}_curves", f"{name}: losses and scores", "extractor_curves")


def drawing(name: str) -> Any:
    """Mark a drawing, `results/figures/drawings/<name>.svg`, for the HTML report; see `shown`."""
    return shown(f"results/figures/drawings/{name}.svg", "Drawings", "drawings", figure=name)


def audited(name: str) -> Any:
    """Mark a table on the data, `results/audit/<name>.csv`, for the HTML report; see `shown`."""
    shows = (AUDITED | AUDITED_BY_NETS)[name]
    return shown(f"results/audit/{name}.csv", AUDIT, table=name, shows=shows)


def matrices(measures: Iterable[str], form: str = "csv") -> list[Any]:
    """Mark matrices of image sets, one per measure, as tables or as pictures; see `shown`."""
    return [
        shown(f"results/matrices/{name}.{form}", "Matrices", "matrices", measure=name, form=form)
        for name in measures
    ]


def result(name: str, title: str, shows: str) -> dict[str, Any]:
    """Outputs of a rule that writes a table: itself, its numbers for DVC, and its record."""
    return {
        "table": table(f"results/{name}.csv", title, shows),
        "metrics": f"results/metrics/{name}.json",
        "record": f"results/{name}.json",
    }
