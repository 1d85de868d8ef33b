"""What a run makes without a target: every table and figure of its configuration."""

from collections.abc import Iterable

from meddiff.workflow.config import Config

AFFECTS_RESULTS = False

CLASSIFIED = ("table_5_1.csv", "table_5_3.csv", "cas_hog_svm.csv", "dose_response.csv",
              "figures/cas/arms.png", "verdict.md")  # fmt: skip
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
        "image_sets",
        *(f"ddpm/{name}_{figure}" for name in classes for figure in DDPM_FIGURES),
        *(f"extractors/{name}_curves" for name in trained),
        *(f"data/images-{name}" for name in classes),
        *(SEGMENTED if "unet" in trained else ()),
    ]
    files = [
        "table_5_2.csv",
        *(CLASSIFIED if len(classes) > 1 else ()),
        *(f"samples/{name}.png" for name in classes),
        "sample_checks.csv",
        # Without images that no DDPM has learnt from there is nothing to compare copies with.
        *(() if "test" in cfg.ddpm_sets else ("memorisation.csv",)),
        *(f"figures/{name}.png" for name in figures),
        *(f"matrices/{name}.{kind}" for name in measures for kind in ("csv", "png")),
        *(f"audit/{name}.csv" for name in audited),
        "audit/near_duplicates.png",
    ]
    return [f"results/{name}" for name in files]
