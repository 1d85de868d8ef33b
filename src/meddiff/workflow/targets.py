"""What a run makes without a target: every table and figure of its configuration, and its page."""

from collections.abc import Collection, Iterable
from pathlib import Path

from meddiff.workflow.config import Config
from meddiff.workflow.conventions import AUDITED

AFFECTS_RESULTS = False

PAGE = "results/report.html"
RECORDED = {f"results/{name}.csv" for name in
            ("table_5_1", "table_5_2", "table_5_3", "cas_hog_svm", "dose_response")}  # fmt: skip
"""Tables with the records of all files behind them beside them."""
FURTHER = ("results/guidance.csv", "results/figures/guidance.png", "results/reader_study.csv")
"""What the page shows where it has been made."""
SEGMENTED = ("data/segmentation", "extractors/segmentation")
DDPM_FIGURES = ("curves", "previews", "denoising")


def final_outputs(cfg: Config, measures: Iterable[str]) -> list[str]:
    """Return every table and figure; those of classifiers where there are two or more classes.

    Args:
        cfg: configuration.
        measures: what matrices of image sets are of.
    """
    classes, trained = cfg.data.classes, cfg.trained_extractors
    figures = [
        *(f"extractors/{name}_curves" for name in trained),
        *(f"data/images-{name}" for name in classes),
        *(SEGMENTED if "unet" in trained else ()),
    ]
    files = [
        "table_5_2.csv",
        *(("table_5_3.csv", "cas_hog_svm.csv") if len(classes) > 1 else ()),
        *(("table_5_1.csv",) if {*trained} - {"unet"} else ()),
        *(f"figures/{name}.png" for name in figures),
        *(f"matrices/{name}.{kind}" for name in measures for kind in ("csv", "png")),
        *(f"audit/{name}.csv" for name in AUDITED),
        "audit/near_duplicates.png",
        *(() if cfg.real_only else _of_synthetic_images(cfg)),
        *(("generators.csv",) if cfg.generators else ()),
    ]
    return [*(f"results/{name}" for name in files), PAGE]


def page_inputs(cfg: Config, measures: Iterable[str], targets: Collection[str] | None) -> list[str]:
    """Return what the page shows: everything, or what is made already where it is all that is made.

    Args:
        cfg: configuration.
        measures: what matrices of image sets are of.
        targets: of this run of Snakemake; None in a job of its own, before which all has been made.
    """
    everything = final_outputs(cfg, measures)
    ddpms = [f"ddpm/{name}_{kind}" for name in cfg.ddpms for kind in DDPM_FIGURES]
    pictures = {f"results/figures/{name}.png" for name in ("image_sets", *ddpms)}
    curves = {f"results/figures/extractors/{name}_curves.png" for name in cfg.trained_extractors}
    shown = [path for path in everything if path.endswith(".csv") or path in pictures | curves]
    shown += ["results/audit/near_duplicates.png"]
    if "results/figures/cas/arms.png" in everything:
        shown.append("results/figures/cas/reliability.png")
    if "results/memorisation.csv" in shown:
        shown.append("results/figures/memorisation.png")
    needed = {"results/table_5_2.csv", *pictures}
    alone = targets is None or any(str(target).endswith(PAGE) for target in targets)
    shown += [path for path in FURTHER if Path(path).exists()]
    wanted = needed | {str(target) for target in targets or ()}
    if "audit" in wanted:
        wanted |= {path for path in shown if path.startswith("results/audit/")}
    files = [path for path in shown if not alone or path in wanted or Path(path).exists()]
    return [*files, *(f"{path[:-4]}.json" for path in files if path in RECORDED)]


def _of_synthetic_images(cfg: Config) -> list[str]:
    """Return what cannot be made of real images alone."""
    classes = cfg.data.classes
    judged = ("dose_response.csv", "figures/cas/arms.png", "verdict.csv")
    return [
        *(judged if len(classes) > 1 else ()),
        *(f"samples/{name}.png" for name in cfg.ddpms),
        "sample_checks.csv",
        *(("reconstruction.csv",) if cfg.diffusion.latent else ()),
        # Without images that no DDPM has learnt from there is nothing to compare copies with.
        *(() if "test" in cfg.ddpm_sets else ("memorisation.csv",)),
        "figures/image_sets.png",
        *(f"figures/ddpm/{name}_{figure}.png" for name in cfg.ddpms for figure in DDPM_FIGURES),
    ]
