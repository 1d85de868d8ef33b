"""What a run makes without a target: every table and figure of its configuration."""

from collections.abc import Iterable

from meddiff.workflow.config import Config

AFFECTS_RESULTS = False

SEGMENTED = ("data/segmentation", "extractors/segmentation")
DDPM_FIGURES = ("curves", "previews", "denoising")


def final_outputs(cfg: Config, measures: Iterable[str], audited: Iterable[str]) -> list[str]:
    """Return every table and figure; those of classifiers where there are two or more classes.

    Args:
        cfg: configuration.
        measures: what matrices of image sets are of.
        audited: tables of the audit.
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
        *(f"audit/{name}.csv" for name in audited),
        "audit/near_duplicates.png",
        *(() if cfg.real_only else _of_synthetic_images(cfg)),
    ]
    return [f"results/{name}" for name in files]


def _of_synthetic_images(cfg: Config) -> list[str]:
    """Return what cannot be made of real images alone."""
    classes = cfg.data.classes
    judged = ("dose_response.csv", "figures/cas/arms.png", "verdict.md")
    return [
        *(judged if len(classes) > 1 else ()),
        *(f"samples/{name}.png" for name in classes),
        "sample_checks.csv",
        # Without images that no DDPM has learnt from there is nothing to compare copies with.
        *(() if "test" in cfg.ddpm_sets else ("memorisation.csv",)),
        "figures/image_sets.png",
        *(f"figures/ddpm/{name}_{figure}.png" for name in classes for figure in DDPM_FIGURES),
    ]
