"""Settings of the classification accuracy score."""

from typing import Annotated, Literal, get_args

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from meddiff.core.settings import Settings, Share, without_repeats
from meddiff.extractors.settings import OptimisationSettings

ArmName = Literal["synthetic", "matched", "real", "mixed", "augmented", "oversampled", "shuffled"]
REAL_ARMS: tuple[ArmName, ...] = ("real", "shuffled")
"""Arms that do not depend on the synthetic images, nor on their number."""
Kernel = Literal["linear", "rbf", "poly"]
ClassifierName = Literal["skinlesnet", "resnet50"]
"""Classifiers that `cas.classifiers` may name, each with an entry in `cas/classifiers.py`."""
RealShare = Annotated[float, Field(gt=0, le=1)]
Ratio = Annotated[float, Field(ge=0)]


class HogSvmSettings(Settings):
    """HOG and SVM; C and kernel are chosen by cross-validated accuracy."""

    C: list[PositiveFloat] = Field(default=[0.1, 1, 10], min_length=1)
    """Values of C to choose from."""
    kernels: list[Kernel] = Field(default=["linear", "rbf"], min_length=1)
    """Kernels to choose from."""
    folds: int = Field(default=5, ge=2)
    """Folds of the cross-validation; images of a patient, lesion or duplicate share one."""


class DoseSettings(Settings):
    """Dose-response: SkinLesNet on fractions of the real images, with synthetic ones added."""

    fractions: list[RealShare] = Field(default=[0.05, 0.15, 1.0], min_length=1)
    """Fractions of the real training images."""
    ratios: list[Ratio] = Field(default=[0, 0.5, 1, 4], min_length=2)
    """Synthetic images per real one; begins with 0, the baseline."""
    max_synthetic_per_class: PositiveInt | None = 300
    """Synthetic images per class, including those of `sampling`; null: only those. Cells that need
    more stay empty."""
    n_repeats: PositiveInt = 3
    """Repetitions with different seeds and real images."""

    @field_validator("fractions", "ratios")
    @classmethod
    def _rising(cls, values: list[float]) -> list[float]:
        if values != sorted(set(values)):
            raise ValueError("must rise")
        return values

    @field_validator("ratios")
    @classmethod
    def _from_none(cls, ratios: list[float]) -> list[float]:
        if ratios[0] != 0:
            raise ValueError("must begin with 0")
        return ratios


class CasSettings(OptimisationSettings):
    """Classification accuracy score: classifiers trained on each arm, tested on real images.

    Under `protocol: leak_free` every arm gets as many optimiser steps as `real`.
    """

    steps: PositiveInt | None = 100
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the networks' training; bf16 is faster on processors that support it."""
    classifiers: list[ClassifierName] = Field(
        default=["skinlesnet"], min_length=1, json_schema_extra={"uniqueItems": True}
    )
    """Classifiers of Table 5.3. HOG and SVM have a table of their own."""
    arms: list[ArmName] = Field(
        default=list(get_args(ArmName)), min_length=1, json_schema_extra={"uniqueItems": True}
    )
    """Training sets to compare. `matched` is as many real images as there are synthetic ones;
    `mixed` is real and synthetic; `augmented` is real and flipped, rotated and recoloured real
    ones in place of synthetic ones; `oversampled` repeats real ones; `shuffled` is real with
    shuffled labels."""
    n_repeats: PositiveInt = 5
    """Repetitions with different seeds."""
    specificity: Share = 0.9
    """Specificity on the validation images at which `sensitivity` is measured."""
    non_inferiority_margin: Share = 0.05
    """Non-inferiority margin: the largest loss of a score that does not matter."""
    hog_svm: HogSvmSettings = HogSvmSettings()
    dose: DoseSettings = DoseSettings()

    _differ = field_validator("arms", "classifiers")(without_repeats)
