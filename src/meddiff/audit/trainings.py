"""What the study's way of training a DDPM costs: the same training with one thing changed."""

import logging
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training.distributed import setup_runtime
from meddiff.diffusion.training.loop import train_ddpm

log = logging.getLogger(__name__)

AS_MEANT = "gradients added up, constant rate"
VOID = "gradients of one part in each step"
PLATEAU = "rate halved on plateaus"


def variants(settings: DiffusionSettings, epochs: int, images: int) -> dict[str, DiffusionSettings]:
    """Return a training as the study's text has it, and two that differ in one thing each.

    The study set its gradients to zero before every part of a batch, so that those of the last part
    alone were left: a step of as many images as one part has. Its rate was halved on plateaus.

    `settings` are of the class, with `batch_size` images per part.
    """
    group = settings.batch_size * settings.gradient_accumulation
    shared: dict[str, Any] = {
        "epochs": None,
        "steps": epochs * -(-images // group),
        "lr_schedule": "constant",
        "preview": settings.preview.model_copy(update={"images": 0}).model_dump(),
    }
    # Parts of a batch change results by rounding only, and a whole one is faster.
    whole = {"batch_size": group, "gradient_accumulation": 1}
    changes: Mapping[str, dict[str, Any]] = {
        AS_MEANT: whole,
        VOID: {"gradient_accumulation": 1},
        PLATEAU: whole | {"lr_schedule": "plateau"},
    }
    values = settings.model_dump()
    return {
        name: DiffusionSettings.model_validate(values | shared | own)
        for name, own in changes.items()
    }


def trainings_table(
    sets: tuple[np.ndarray, np.ndarray],
    trainings: Mapping[str, DiffusionSettings],
    *,
    name: str,
    seeds: int,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Train each variant from several seeds and return how it ended.

    Variants of one seed begin with the same weights, and are validated with the same times and
    noise.

    Args:
        sets: images of one class to learn from, and unseen ones, both uint8 (N,H,W,C).
        trainings: settings by treatment.
        seeds: trainings of each.

    Returns:
        One row per treatment and repetition: `class`, `treatment`, `repetition`,
        `images_per_step`, `steps`, `loss` (mean of the last epoch) and `validation_loss`, both
        mean squared errors of the prediction, `lr` at the end, `n_real` and `n_validation` images.
    """
    images, validation = sets
    rows = []
    for repetition, treatment in product(range(seeds), trainings):
        log.info("%s", treatment)
        settings = trainings[treatment]
        trained = train_ddpm(
            images,
            settings,
            seed=seed + repetition,
            name=name,
            validation=validation,
            runtime=setup_runtime(device, settings.precision),
        )
        last = trained.history.iloc[-1]
        rows.append(
            {
                "class": name,
                "treatment": treatment,
                "repetition": repetition,
                "images_per_step": settings.batch_size * settings.gradient_accumulation,
                "steps": int(last["step"]),
                **{key: last[key] for key in ("loss", "validation_loss", "lr")},
            }
        )
    return pd.DataFrame(rows).assign(n_real=len(images), n_validation=len(validation))
