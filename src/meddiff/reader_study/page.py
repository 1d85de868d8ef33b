"""A reader study as one page: blinded images, and the key that stays with whoever made it."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as Picture

from meddiff.audit.encoding_traces import separation
from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream
from meddiff.metrics.intervals import share_interval
from meddiff.reader_study.design import REAL, SYNTHETIC, Design, Trial
from meddiff.reader_study.images import Names
from meddiff.reporting.page.html import address

SEPARABLE = 0.6
"""Share of images that traces of encoding may tell apart, by the lower end of its interval: what
reaches three in five can be what a trained eye goes by."""
LANGUAGES = ("en", "es")

Pixels = Mapping[str, Mapping[str, NDArray[np.uint8]]]
"""uint8 (n,h,w,C) of "real" and "synthetic", by class."""


@dataclass(frozen=True)
class Study:
    """A page for readers and its key.

    Attributes:
        page: HTML that needs no server and says of no image what it is.
        key: one row per trial and image: `study`, `trial`, `place`, `target` (of the trial: what is
            right), `case` (a repeat has that of the first), `repeat`, `image_set`, `class`,
            `row`, and `image`, its name.
    """

    page: str
    key: pd.DataFrame


def check_encoding(images: Pixels, *, seed: int = 0) -> None:
    """Refuse images whose encoding tells synthetic from real ones.

    Raises:
        MeddiffError: a classifier of traces of encoding tells the images of a class apart, or they
            are too few or too small to say.
    """
    for cls in images[REAL]:
        real, synthetic = images[REAL][cls], images[SYNTHETIC][cls]
        count = 2 * min(len(real), len(synthetic))
        if not count or share_interval(count, count).low <= SEPARABLE:
            raise MeddiffError(
                f"class {cls}: {len(real)} real and {len(synthetic)} synthetic images are too few "
                "to check their encoding: add images, or leave the class out with --class"
            )
        accuracy = separation(real, synthetic, seed=seed)
        if accuracy.low > SEPARABLE:
            raise MeddiffError(
                f"class {cls}: a classifier tells real from synthetic images by their encoding "
                f"alone, {accuracy.value:.2f} [{accuracy.low:.2f}, {accuracy.high:.2f}] of "
                f"{count}: encode both sets alike before readers see "
                "them"
            )


def build_study(
    images: Pixels,
    names: Names,
    trials: Sequence[Trial],
    design: Design,
    language: Mapping[str, Any],
    *,
    seed: int,
) -> Study:
    """Return the page and the key of a reader study.

    All images are encoded alike, as PNG without metadata, under names that chance gives.

    Args:
        names: those of the images in their files, for the key alone.
        trials: of `meddiff.reader_study.design.draw_trials`.
        language: texts, of `read_language`.

    Raises:
        MeddiffError: images differ in size.
    """
    shapes = {each.shape[1:3] for of_set in images.values() for each in of_set.values()}
    if len(shapes) > 1:
        sizes = ", ".join(f"{width} x {height}" for height, width in sorted(shapes))
        raise MeddiffError(f"images differ in size ({sizes} px): readers would go by it")
    shown = list(dict.fromkeys(image for trial in trials for image in trial.images))
    order = stream(seed, "reader study", "names").permutation(len(shown))
    blinded = {image: f"i{number:04d}" for image, number in zip(shown, order, strict=True)}
    grey = all(each.shape[-1] == 1 for of_set in images.values() for each in of_set.values())
    pictures = {
        name: _data_uri(images[image.image_set][image.cls][image.row], grey)
        for image, name in sorted(blinded.items(), key=lambda item: item[1])
    }
    shown_trials = [
        {"id": f"t{number:03d}", "images": [blinded[image] for image in trial.images]}
        for number, trial in enumerate(trials)
    ]
    content = {"design": design, "language": language, "trials": shown_trials, "images": pictures}
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    identity = hashlib.sha256(text.encode()).hexdigest()[:12]
    embedded = json.dumps(content | {"id": identity}, ensure_ascii=False).replace("<", "\\u003c")
    page = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return Study(page.replace("STUDY", embedded, 1), _key(identity, design, trials, names))


def _key(identity: str, design: Design, trials: Sequence[Trial], names: Names) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "study": identity,
            "design": design,
            "trial": f"t{number:03d}",
            "place": place,
            "target": trial.target,
            "case": trial.case,
            "repeat": int(trial.repeat),
            "image_set": image.image_set,
            "class": image.cls,
            "row": image.row,
            "image": names[image.image_set][image.cls][image.row],
        }
        for number, trial in enumerate(trials)
        for place, image in enumerate(trial.images)
    )


def _data_uri(image: NDArray[np.uint8], grey: bool) -> str:
    pixels = image[..., 0] if grey else np.broadcast_to(image, (*image.shape[:2], 3))
    file = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", optimize=True)
    return address(file.getvalue())


def read_language(language: str) -> dict[str, Any]:
    """Return the texts of a language that comes with meddiff, or of a file like those.

    Raises:
        MeddiffError: there is no such language or file, or it lacks a text.
    """
    shipped = resources.files(__package__).joinpath("languages")
    english = json.loads(shipped.joinpath("en.json").read_text(encoding="utf-8"))
    if language in LANGUAGES:
        texts: dict[str, Any] = json.loads(
            shipped.joinpath(f"{language}.json").read_text(encoding="utf-8")
        )
        return texts
    path = Path(language)
    try:
        texts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MeddiffError(
            f"--language {language}: take {' or '.join(LANGUAGES)}, or a file like en.json"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise MeddiffError(f"{path} is no JSON in UTF-8 ({error}): mend it") from error
    if odd := _differences(english, texts):
        raise MeddiffError(f"{path}: {odd}: give the texts of en.json, and no others")
    return texts


def _differences(model: Any, texts: Any, key: str = "") -> str:
    """Return the first place where texts are built otherwise than a model, or nothing."""
    if isinstance(model, dict):
        if not isinstance(texts, dict) or model.keys() != texts.keys():
            return f"{key or 'it'} lacks or adds keys"
        return next(filter(None, (_differences(v, texts[k], k) for k, v in model.items())), "")
    if isinstance(model, list):
        whole = isinstance(texts, list) and all(isinstance(each, str) for each in texts)
        same = key != "confidence" or (whole and len(texts) == len(model))
        return "" if whole and same else f"{key} is no list of texts as there"
    return "" if isinstance(texts, str) else f"{key} is no text"
