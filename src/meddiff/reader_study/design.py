"""Which images a reader sees, in which order: trials of one design."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from meddiff.core.errors import MeddiffError, first_names
from meddiff.core.randomness import stream

Design = Literal["single", "pairs", "choice"]
REAL, SYNTHETIC = "real", "synthetic"
MOST_CHOICES = 9
"""Images of a trial that a number key answers."""
LEAST_TRIALS = 2
"""Trials, of single images per set: of fewer, no score has an interval."""


@dataclass(frozen=True)
class Image:
    """One image of a set.

    Attributes:
        image_set: "real" or "synthetic".
        cls: its class.
        row: its place in the set of that class.
    """

    image_set: str
    cls: str
    row: int


@dataclass(frozen=True)
class Trial:
    """One question to a reader.

    Attributes:
        images: the images shown, from left to right.
        case: number of the question; a repeat has that of the first time.
        repeat: it comes for the second time.
    """

    images: tuple[Image, ...]
    case: int = 0
    repeat: bool = False

    @property
    def target(self) -> int:
        """Place of the synthetic image, from 0; of a single image 1 if it is synthetic, else 0."""
        synthetic = [image.image_set == SYNTHETIC for image in self.images]
        return int(synthetic[0]) if len(synthetic) == 1 else synthetic.index(True)


def draw_trials(
    counts: Mapping[str, Mapping[str, int]],
    design: Design,
    *,
    n_trials: int,
    choices: int = 2,
    repeats: float = 0.0,
    seed: int = 0,
) -> list[Trial]:
    """Draw the trials of a reader study.

    Classes come equally often. Single images are real and synthetic equally often; otherwise one of
    the images of a trial is synthetic, at each place equally often. No image is in two questions.

    Args:
        counts: images per class in "real" and "synthetic".
        design: one image (`single`), a real beside a synthetic one (`pairs`), or one synthetic
            among `choices` images (`choice`).
        n_trials: trials without repeats; rounded down to a whole number per class, and per class
            and set for single images.
        choices: images of a trial of `choice`, 3 to 9.
        repeats: share of the trials that come again, at least a quarter of them later.

    Raises:
        MeddiffError: there are too few images or trials, or a number is out of its range.
    """
    shown = {"single": 1, "pairs": 2, "choice": choices}[design]
    if design == "choice" and choices < 3:
        raise MeddiffError(f"--choices {choices}: give 3 or more, or take --design pairs")
    if design == "choice" and choices > MOST_CHOICES:
        raise MeddiffError(f"--choices {choices}: give {MOST_CHOICES} or fewer, one per number key")
    if not 0 <= repeats <= 1:  # nor NaN
        raise MeddiffError(f"--repeats {repeats:g}: give a share from 0 to 1")
    kinds = 2 if design == "single" else 1
    each = n_trials // (len(counts) * kinds)
    if each * len(counts) < LEAST_TRIALS:
        least = kinds * len(counts) * math.ceil(LEAST_TRIALS / len(counts))
        raise MeddiffError(
            f"--trials {n_trials}: give {least} or more, which is what scores of "
            f"{first_names(list(counts))} need"
        )
    trials: list[Trial] = []
    for cls, of_sets in counts.items():
        needed = {SYNTHETIC: each, REAL: each * max(shown - 1, 1)}
        drawn = {}
        for name, count in needed.items():
            if of_sets[name] < count:
                raise MeddiffError(
                    f"class {cls}: {count} {name} images are needed and there are "
                    f"{of_sets[name]}: lower --trials, or add images"
                )
            order = stream(seed, "reader study", cls, name).permutation(of_sets[name])
            drawn[name] = [Image(name, cls, int(row)) for row in order[:count]]
        trials += _arranged(drawn, shown)
    order = stream(seed, "reader study", "order").permutation(len(trials))
    first = [Trial(trials[place].images, case) for case, place in enumerate(order)]
    return _with_repeats(first, round(repeats * len(first)), seed)


def _arranged(drawn: Mapping[str, Sequence[Image]], shown: int) -> list[Trial]:
    """Put the images of a class into trials; places of the synthetic one take turns."""
    if shown == 1:
        return [Trial((image,)) for images in drawn.values() for image in images]
    trials, real = [], iter(drawn[REAL])
    for number, synthetic in enumerate(drawn[SYNTHETIC]):
        images = [next(real) for _ in range(shown - 1)]
        images.insert(number % shown, synthetic)
        trials.append(Trial(tuple(images)))
    return trials


def _with_repeats(first: Sequence[Trial], count: int, seed: int) -> list[Trial]:
    """Return trials with some of their first half again, spread over their last quarter.

    Images keep their places: it is the same question.
    """
    half = len(first) // 2
    count = min(count, half)
    chance = stream(seed, "reader study", "repeats")
    again = sorted(int(place) for place in chance.permutation(half)[:count])
    after = np.linspace(half + half // 2, len(first), count + 1)[1:].round().astype(int)
    trials: list[Trial] = []
    for place, trial in enumerate(first, 1):
        trials.append(trial)
        trials += [
            Trial(first[source].images, source, repeat=True)
            for source, gap in zip(again, after, strict=True)
            if gap == place
        ]
    return trials
