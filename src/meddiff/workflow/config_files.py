"""Write `config/` from the settings: `python -m meddiff.workflow.config_files config`."""

import json
import sys
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml

from meddiff.core.settings import Settings
from meddiff.extractors.settings import PretrainedName
from meddiff.workflow.config import Config

SHOWN = {
    "scale": "name of this configuration, stated in every table",
    "seed": "fixes every table bit for bit on the same machine",
    "protocol": "leak_free, or as_published: as in the study",
    "compute.device": "auto: a GPU if torch finds one; cpu, cuda, mps",
    "compute.threads": "CPU threads per network; --cores sets the number of parallel jobs",
    "compute.processes": "processes per DDPM training",
    "compute.checkpoint_minutes": "minutes between saved states, from which killed jobs resume",
    "data.source": "phantom: simulated; kaggle: ISIC at 224 px; isic: the same "
    "at full size, 35 GB; mednist, phantom_hand: hands; folder: yours",
    "data.classes": "the last one is the positive class",
    "data.size": "side of all packed images in px",
    "data.crop": "side of the centre crop in px; null: the largest square",
    "data.editions": "of kaggle and isic",
    "data.label_policy": "which diagnoses are malignant: melanoma, malignant",
    "data.folder.images": "your folder, and a CSV or XLSX with one row per image",
    "data.folder.table": "null: the image's folder is its class",
    "data.folder.id_column": "the image's file name without suffix",
    "data.folder.label_column": "",
    "data.folder.patient_column": "all images of a patient are in one split",
    "data.folder.lesion_column": "",
    "data.folder.patient_pattern": "regular expression on the path",
    "data.folder.window": "black and white level of images of more than 8 bits",
    "data.folder.masks": "folder of lesion masks, for the U-Net",
    "split.validation": "share of the validation set",
    "split.test": "share of the test set; the rest is for training",
    "undersample.counts": "images kept per class; other classes are cut to the smallest one; "
    "`undersample: none` keeps all",
    "diffusion.steps": "optimiser steps; null where epochs is given",
    "diffusion.epochs": "",
    "diffusion.network.channels, attention": "per level",
    "diffusion.schedule.process, betas, prediction": "process: ddpm, ncsn, ve, vp, sub_vp; "
    "betas: linear, cosine; prediction: epsilon, v_prediction, sample",
    "diffusion.augmentation": "none, hand, isic2016, or a mapping of strengths",
    "diffusion.batch_size": "images per forward pass",
    "diffusion.gradient_accumulation": "forward passes per optimiser step",
    "diffusion.lr": "",
    "diffusion.lr_schedule": "constant, linear, warmup_linear, plateau",
    "diffusion.precision": "fp32, tf32, bf16, fp16",
    "diffusion.ema": "decay of the averaged weights; null: no average",
    "diffusion.conditional": "true: one network for all classes; false: one per class",
    "diffusion.classes": "overrides per class, and DDPMs trained elsewhere",
    "sampling.images": "per class",
    "sampling.sampler": "ddpm, ddim, dpm_solver, sde_dpm_solver, pf_ode, predictor_corrector, ...",
    "sampling.steps": "denoising steps",
    "sampling.shards": "sampling jobs per class",
    "extractors.pretrained": ", ".join(get_args(PretrainedName)),
    "extractors.unet.steps": "",
    "extractors.skinlesnet.steps": "",
    "extractors.resnet50.steps, weights": "weights: auto, imagenet, none",
    "metrics.ssim.kernel_size": "px",
    "metrics.ms_ssim.kernel_size": "px",
    "metrics.n_resamples": "random half-samples behind each 95 % interval",
    "cas.classifiers": "skinlesnet, resnet50; HOG and SVM always",
    "cas.arms": "",
    "cas.n_repeats": "trainings per arm",
    "cas.steps": "optimiser steps per training",
    "cas.dose.fractions": "shares of the real images",
    "cas.dose.ratios": "synthetic images per real one",
    "cas.dose.max_synthetic_per_class": "limit of synthetic images per class",
}
"""Keys of `config/config.yaml` in its order, each with a remark: those that people set."""


def default_yaml() -> str:
    """Return `config/config.yaml`: the keys that people set, with their defaults."""
    lines = [
        "# The demo: the keys that people set. README.md beside this file lists every key.",
        "# Written by `make config` from the settings in src/meddiff/.",
    ]
    places = [key.split(".")[:-1] for key in SHOWN]
    before: list[str] = []
    for place, (key, remark) in zip(places, SHOWN.items(), strict=True):
        if place[:1] != before[:1]:
            lines += ["", f"{place[0]}:"]
        names = key.split(".")[-1].split(", ")
        values = {name: default_of([*place, name]) for name in names}
        depth = len(place)
        if depth == 2 and places.count(place) == 1:  # on one line with its section
            depth, values = 1, {place[1]: values}
        elif depth == 2 and place != before:
            lines.append(f"  {place[1]}:")
        line = "  " * depth + _dump(values)
        lines.append(f"{line:<39} # {remark}" if remark else line)
        before = place
    return "\n".join(lines) + "\n"


def default_of(path: Sequence[str]) -> Any:
    """Return the default at a path of keys, as YAML holds it."""
    return reduce(getitem, path, Config().model_dump(mode="json"))


def _describe(section: Settings, name: str) -> str:
    """Description of a field, inherited where a subclass changes only the default."""
    described = (
        c.model_fields[name].description
        for c in type(section).__mro__
        if issubclass(c, Settings) and name in c.model_fields
    )
    return next((text for text in described if text), "")


def _dump(value: dict[str, Any]) -> str:
    """Return keys and their values on one line."""
    return yaml.safe_dump(value, sort_keys=False, width=1000, default_flow_style=True)[1:-2]


def manual() -> str:
    """Return `config/README.md`: a table of every key with type, default and meaning."""
    lines = [
        "# Configuration",
        "",
        "Written by `make config` from the settings in `src/meddiff/`: every key with the demo's",
        "value. `config.yaml` holds the keys that people set; any other may be added there.",
        "`thesis.yaml` overlays the study's values. Make an overlay of your own with only the keys",
        "that differ and pass it with `--configfile`; unknown keys and wrong values stop the run",
        "before any job. `schema.json` gives completion in editors that read JSON schemas.",
        "",
        "| key | default | meaning |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *_manual_rows(Config(), "")]) + "\n"


def _manual_rows(section: Settings, prefix: str) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), prefix + name
        if isinstance(value, Settings):
            yield f"| **`{key}`** | | **{' '.join((type(value).__doc__ or '').split())}** |"
            yield from _manual_rows(value, key + ".")
            continue
        yield _row(section, name, prefix)
        if (own := _alternative(field.annotation)) is not None:
            yield from _manual_rows(own, key + ".")
        if (each := _section_of_each(field.annotation)) is not None:
            yield from (_row(each, one, f"{key}.<name>.") for one in type(each).model_fields)


def _row(section: Settings, name: str, prefix: str) -> str:
    shown = json.dumps(section.model_dump(mode="json")[name])
    field = type(section).model_fields[name]
    meaning = " ".join(_describe(section, name).split()) + _choices(field.annotation)
    return f"| `{prefix}{name}` | `{shown}` | {meaning} |"


def _section_of_each(annotation: Any) -> Settings | None:
    """Return the defaults of the section that a mapping has by name, if it does."""
    kind = get_args(annotation)[1] if get_origin(annotation) is dict else None
    return kind() if isinstance(kind, type) and issubclass(kind, Settings) else None


def _choices(annotation: Any) -> str:
    options = [o for part in _parts(annotation) for o in get_args(part) if isinstance(o, str)]
    own = " or a mapping of the keys below" if _alternative(annotation) is not None else ""
    number = " or a number" * any(map(_is_number, _parts(annotation)))
    return f" One of {', '.join(f'`{o}`' for o in options)}{number}{own}." if options else ""


def _is_number(part: Any) -> bool:
    return (get_args(part)[0] if get_origin(part) is Annotated else part) in (int, float)


def _alternative(annotation: Any) -> Settings | None:
    """Return the defaults of the section that a field takes in place of a name, if it does."""
    parts = _parts(annotation)
    kinds = (p for p in parts if isinstance(p, type) and issubclass(p, Settings))
    return next((kind() for kind in kinds if len(parts) > 1), None)


def _parts(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union; anything else is its own only part."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def generated() -> dict[str, str]:
    """Return the text of each generated file of `config/`, by name."""
    schema = json.dumps(Config.model_json_schema(), indent=2) + "\n"
    return {"config.yaml": default_yaml(), "schema.json": schema, "README.md": manual()}


if __name__ == "__main__":
    for name, text in generated().items():
        (Path(sys.argv[1]) / name).write_text(text)
