"""Classifiers trained on synthetic images and tested on real ones, of image sets from anywhere."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from meddiff.assessment.splitting import RealSplit, split_real
from meddiff.cas.arms import Pool, build_pool
from meddiff.cas.classifiers import HOG_SVM, build_classifier
from meddiff.cas.experiment import HeldOut, run_arms
from meddiff.cas.settings import ArmName, CasSettings
from meddiff.cas.tables import arms_table, score_arms
from meddiff.cas.verdict import Evidence, verdict_table
from meddiff.cas.verdict_text import Wording, verdict_text
from meddiff.core.arrays import balanced, stack
from meddiff.core.errors import MeddiffError
from meddiff.core.progress import Progress
from meddiff.data.image_sets import ImageSet
from meddiff.evaluation.compared import classes_of
from meddiff.metrics.images import places_by_contents

SYNTHETIC = "synthetic"
"""Set of predictions that are of synthetic images."""
QUICK = CasSettings(n_repeats=3)
"""What takes a few minutes on two cores."""
STAMP = {"data": "REAL"}
"""Stands in the text for the data of a run."""


@dataclass(frozen=True)
class Training:
    """What classifiers say of synthetic images.

    Attributes:
        scores: one row per classifier, arm and score, as Table 5.3.
        verdict: outcome of every question, as `results/verdict.csv`; the leading classifier first.
        wording: what the verdict's text says of this experiment.
        recognised: share of each class's synthetic images that classifiers trained on real images
            take for each class, of all trainings: classifier, class, predicted, share, real_share
            of the class's test images, n_images. Shmelkov et al., "How good is my GAN?" (ECCV
            2018): GAN-test is the share of the own class.
        images: number of real images by part (train, validation, test) and class.
    """

    scores: pd.DataFrame
    verdict: pd.DataFrame
    wording: Wording
    recognised: pd.DataFrame
    images: Mapping[str, Mapping[str, int]]

    @property
    def text(self) -> str:
        """The verdict in words, for a terminal."""
        return verdict_text(self.verdict, self.scores, STAMP, self.wording)


def train_classifiers(
    real: ImageSet,
    synthetic: ImageSet,
    *,
    unseen: ImageSet | None = None,
    settings: CasSettings = QUICK,
    n_resamples: int = 200,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
) -> Training:
    """Train classifiers on every arm and judge what synthetic images are good for.

    The experiment of docs/cas.md, on real images that are split by group before.

    Args:
        real: images with labels, and groups where several are of one patient.
        synthetic: images with labels of the same names.
        unseen: real images with labels that the generator has not learnt from.
        settings: of the experiment; HOG and SVM are always among the classifiers.
        n_resamples: random half-samples of the test images behind an interval.
        threads: trainings at a time, each in a process of its own with one thread; results do not
            depend on it.

    Raises:
        MeddiffError: there are no labels, or other ones, or too few images of a class.
    """
    sets = {"real": real, "synthetic": synthetic} | ({} if unseen is None else {"unseen": unseen})
    classes = classes_of(sets)
    if not classes:
        raise MeddiffError(
            "classifiers need two classes or more in every set: make a folder per class, of the "
            "same names in REAL and SYNTHETIC (and UNSEEN)"
        )
    split = split_real(real, unseen, seed=seed)
    synthetic = synthetic.take(places_by_contents(synthetic.images, seed))
    pool = _pool(split.train, synthetic, classes, settings, seed)
    held_out = {
        "test": _held_out(split.test, classes),
        "validation": _held_out(split.validation, classes),
        SYNTHETIC: _held_out(synthetic, classes),
    }
    experiment = _Experiment(pool, held_out, classes, settings, seed, device)
    predictions = experiment.predictions(threads)
    of_synthetic = predictions["set"] == SYNTHETIC
    scored = score_arms(
        predictions[~of_synthetic].assign(source_file=""),
        classes,
        specificity=settings.specificity,
        n_resamples=n_resamples,
        seed=seed,
    )
    return Training(
        arms_table(scored).drop(columns="source_file"),
        verdict_table(scored, _evidence(split, held_out["test"], settings)),
        _wording(split, unseen is not None),
        _recognised(predictions),
        _counts(split, classes),
    )


def _pool(
    train: ImageSet, synthetic: ImageSet, classes: Sequence[str], settings: CasSettings, seed: int
) -> Pool:
    groups = np.array(train.groups)
    labels = np.array(train.labels)
    return build_pool(
        _by_class(train, classes),
        [groups[labels == name] for name in classes],
        _by_class(synthetic, classes),
        augmented="augmented" in settings.arms,
        seed=seed,
    )


def _by_class(images: ImageSet, classes: Sequence[str]) -> list[np.ndarray]:
    labels = np.array(images.labels)
    return [images.images[labels == name] for name in classes]


def _held_out(images: ImageSet, classes: Sequence[str]) -> HeldOut:
    """Return as many images of each class."""
    labels, places = np.array(images.labels), np.arange(len(images))
    chosen = balanced([places[labels == name] for name in classes])
    ids = [str(place) for part in chosen for place in part]
    groups = images.groups or tuple(map(str, places))
    stacked, numbers = stack([images.images[part] for part in chosen])
    return HeldOut(stacked, numbers, ids, [groups[place] for part in chosen for place in part])


@dataclass(frozen=True)
class _Experiment:
    """What all trainings share."""

    pool: Pool
    held_out: Mapping[str, HeldOut]
    classes: Sequence[str]
    settings: CasSettings
    seed: int
    device: str

    def predictions(self, threads: int) -> pd.DataFrame:
        """Return those of every classifier, arm and training; arms are trained side by side."""
        from joblib import Parallel, delayed

        classifiers = (*self.settings.classifiers, HOG_SVM)
        cells = [(name, arm) for name in classifiers for arm in self.settings.arms]
        # Trainings of a GPU would share it.
        at_once = min(threads, len(cells)) if self.device == "cpu" else 1
        processes = Parallel(at_once, return_as="generator")
        repeats, tables = self.settings.n_repeats, []
        with Progress(len(cells) * repeats, "train classifiers", "training") as progress:
            for table in processes(delayed(self._of_arm)(*cell) for cell in cells):
                tables.append(table)
                progress.advance(repeats)
        return pd.concat(tables, ignore_index=True)

    def _of_arm(self, name: str, arm: ArmName) -> pd.DataFrame:
        """Return the predictions of a classifier on one arm.

        What it takes synthetic images for is of interest where it learnt from real ones.
        """
        size = self.pool.images.shape[1]
        classifier = build_classifier(
            name, len(self.classes), size, self.settings, device=self.device
        )
        shown = {
            key: each for key, each in self.held_out.items() if arm == "real" or key != SYNTHETIC
        }
        # Without a bar for each training.
        with _one_thread(), contextlib.redirect_stderr(io.StringIO()):
            table = run_arms(
                classifier,
                self.pool,
                shown,
                self.classes,
                self.settings.model_copy(update={"arms": [arm]}),
                equal_steps=True,
                repetitions=self.settings.n_repeats,
                seed=self.seed,
            )
        return table.assign(classifier=name)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Calculate in one thread, so that results do not depend on how many trainings there are."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _recognised(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return what classifiers trained on real images take synthetic and test images for."""
    of_real = predictions[predictions["arm"] == "real"]
    keys = ["classifier", "label"]
    counts = of_real.groupby(["set", *keys, "predicted"], sort=False).size()
    shares = counts / counts.groupby(level=["set", *keys]).transform("sum")
    table = shares[SYNTHETIC].rename("share").to_frame()
    table["real_share"] = shares["test"].reindex(table.index).fillna(0)
    images = of_real[of_real["set"] == SYNTHETIC].groupby(keys)["id"].nunique()
    table = table.join(images.rename("n_images"), on=keys)
    return table.reset_index().rename(columns={"label": "class"})


def _counts(split: RealSplit, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return {
        name: {label: (each.labels or ()).count(label) for label in classes}
        for name, each in parts.items()
    }


def _evidence(split: RealSplit, test: HeldOut, settings: CasSettings) -> Evidence:
    names = split.test.labels or ()
    learnt = [*(split.train.groups or ()), *(split.validation.groups or ())]
    per_class = len(test.labels) // len(set(names))
    return Evidence(
        margin=settings.non_inferiority_margin,
        test_images=dict.fromkeys(sorted(set(names)), per_class),
        test_groups=len(set(test.groups)),
        shared=int(np.isin(np.array(test.groups), learnt).sum()),
    )


def _wording(split: RealSplit, has_unseen: bool) -> Wording:
    if has_unseen:
        doubt = "The test images are those of `--unseen`, from which the generator has not learnt."
        if split.shared:
            doubt += f" {split.shared} of them were left out: they share a group with REAL's."
    else:
        doubt = (
            "The test images are part of REAL. If the generator has learnt from REAL, it has seen "
            "them: give real images that it has not seen as `--unseen`."
        )
    if split.duplicates:
        doubt += f" {split.duplicates} real images were left out as duplicates of others."
    return Wording(
        learners="a classifier",
        generators="one set of synthetic images",
        margin="`--margin`",
        repeats="`--repeats`",
        encoding="files that are encoded otherwise, borders, rulers",
        doubts=[doubt],
    )
