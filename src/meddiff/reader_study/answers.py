"""The files that readers send back, checked against the key of their study."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from meddiff.core.errors import MeddiffError, one_line
from meddiff.core.tables import read_csv

KEY_COLUMNS = ["study", "design", "trial", "place", "target", "case", "repeat", "image_set",
               "class", "row", "image"]  # fmt: skip
OVER_READERS = "all"
"""Stands for the reader where a number is over all of them."""
NUMBERS = ["place", "target", "case", "repeat", "row"]
CONFIDENCE = 6
"""Answers to a single image: 1 to 6, from definitely real to definitely synthetic."""


class Answer(BaseModel):
    """The answer to one trial: a confidence of 1 to 6, or the place of the chosen image from 1."""

    model_config = ConfigDict(extra="forbid", strict=True)

    trial: str
    answer: PositiveInt
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Answers(BaseModel):
    """What a reader's file holds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    study: str
    design: str
    reader: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    answers: list[Answer]


def read_key(path: str | Path) -> pd.DataFrame:
    """Return the key of a study; one that was written without `image` gets an empty one.

    Raises:
        MeddiffError: it is no key of a reader study.
    """
    try:
        key = read_csv(path)
    except FileNotFoundError as error:
        raise MeddiffError(
            f"there is no {path}: `meddiff readers make` writes it; else name it with --key"
        ) from error
    except IsADirectoryError as error:
        raise MeddiffError(f"{path} is a folder: give the key.csv in it") from error
    if list(key) == KEY_COLUMNS[:-1]:
        key["image"] = pd.NA
    whole = list(key) == KEY_COLUMNS and not key.empty
    if (
        not whole
        or any(each.kind != "i" for each in key[NUMBERS].dtypes)
        or key[KEY_COLUMNS[:3]].isna().any(axis=None)
    ):
        raise MeddiffError(f"{path} is no key of a reader study: give the key.csv beside its page")
    return key


def read_answers(paths: Sequence[str | Path], key: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the answers of each reader.

    Returns:
        Per reader, in the order of their names, one row per trial in the order of the key:
        `trial`, `case`, `repeat`, `target`, `answer` and `seconds`.

    Raises:
        MeddiffError: a file is not whole, of another study, or of a reader that came before.
    """
    if not paths:
        raise MeddiffError("no answers: put the files that readers saved into reader_study/answers")
    trials = key.drop_duplicates("trial")[["trial", "case", "repeat", "target"]]
    choices = len(key) // len(trials)
    answers: dict[str, pd.DataFrame] = {}
    files: dict[str, str | Path] = {}
    for path in paths:
        file = _read(path)
        if file.study != key["study"].iloc[0]:
            raise MeddiffError(f"{path} answers study {file.study}, not {key['study'].iloc[0]}")
        if file.design != key["design"].iloc[0]:
            raise MeddiffError(
                f"{path} answers design {file.design}, not the key's {key['design'].iloc[0]}: give "
                "the file that the page saved"
            )
        if file.reader == OVER_READERS:
            raise MeddiffError(
                f"{path}: the reader's code is {OVER_READERS}, which stands for all readers in the "
                "scores: give this reader another code"
            )
        by_trial = {each.trial: each for each in file.answers}
        if len(by_trial) < len(file.answers) or not by_trial.keys() <= set(trials["trial"]):
            raise MeddiffError(f"{path} has answers twice, or to other trials than the study's")
        if missing := len(trials) - len(by_trial):
            raise MeddiffError(
                f"{path}: {missing} of {len(trials)} questions have no answer: the page resumes "
                f"where {file.reader} stopped"
            )
        largest = CONFIDENCE if choices == 1 else choices
        if max(each.answer for each in file.answers) > largest:
            raise MeddiffError(f"{path} has answers above {largest}, which the page does not offer")
        if file.reader in files:
            raise MeddiffError(
                f"{path} and {files[file.reader]} are both by reader {file.reader}: give each "
                "reader's last file alone, and each reader a code of their own"
            )
        files[file.reader] = path
        in_order = [by_trial[trial] for trial in trials["trial"]]
        answers[file.reader] = trials.reset_index(drop=True).assign(
            answer=[each.answer for each in in_order], seconds=[each.seconds for each in in_order]
        )
    return dict(sorted(answers.items()))


def _read(path: str | Path) -> Answers:
    try:
        return Answers.model_validate(json.loads(Path(path).read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise MeddiffError(
            f"{path} holds no answers of a reader ({place}: {first['msg']}): give the file "
            "that the page saved"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise MeddiffError(
            f"{path} cannot be read ({one_line(error)}): give the file that the page saved"
        ) from error


def says_synthetic(answers: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return whether a confidence of 1 to 6 says "synthetic"."""
    return answers > CONFIDENCE // 2
