"""Anybody's images in, the answer out: `meddiff.evaluate`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from meddiff.assessment.findings import Finding, findings
from meddiff.assessment.training import QUICK, Training, train_classifiers
from meddiff.cas.settings import CasSettings
from meddiff.core.errors import MeddiffError
from meddiff.core.tables import OVER_CLASSES
from meddiff.evaluation import evaluate as scores
from meddiff.evaluation.compared import ALL, PAIRED, AnyImages, as_image_set, check_sets
from meddiff.evaluation.evaluate import records
from meddiff.evaluation.scores import FeatureExtractor
from meddiff.metrics.images import Images
from meddiff.reporting.names import name_of


@dataclass(frozen=True)
class Evaluation(scores.ScoredSets):
    """What `meddiff.evaluate` returns: scores, and

    Attributes:
        training: what classifiers say; None without `train`.
        findings: the answer first, then problems, what is right, and doubts, in sentences.
    """

    training: Training | None
    findings: tuple[Finding, ...]

    @property
    def answer(self) -> str:
        """The answer, in one sentence."""
        return self.findings[0].text

    def to_dict(self) -> dict[str, Any]:
        """Return everything but `images` as plain data, for JSON."""
        training = self.training
        return {
            **super().to_dict(),
            "findings": [{"kind": each.kind, "text": each.text} for each in self.findings],
            "training": training
            and {
                "images": {name: dict(counts) for name, counts in training.images.items()},
                "scores": records(training.scores),
                "verdict": records(training.verdict),
                "recognised": records(training.recognised),
            },
        }

    def number(self, name: str) -> float:
        """Return one number by name, the least of all extractors: what a check can ask for.

        Args:
            name: `score`, of FID and KID; `accuracy`, of the leading classifier trained on
                synthetic images; or a metric, its value, as in tables or as it is printed.

        Raises:
            MeddiffError: there is no such number here.
        """
        rows = self.scores[self.scores["class"].isin([ALL, OVER_CLASSES])]
        if name == "score":
            values = rows.loc[rows["metric"].isin(["fid", "kid"]), "score"]
        elif name == "accuracy" and self.training is not None:
            verdict = self.training.verdict
            values = verdict.loc[verdict["metric"] == "accuracy", "value"].head(1)
        else:
            of_name = (rows["metric"] == name) | (rows["metric"].map(name_of) == name)
            values = rows.loc[of_name, "value"]
        if values.isna().all():
            scored = rows["metric"].isin(["fid", "kid"]).any()
            listed = [
                *(["score"] if scored else []),
                *(["accuracy"] if self.training else []),
                *rows["metric"].unique(),
            ]
            raise MeddiffError(f"there is no number {name} here: name one of {', '.join(listed)}")
        return float(values.astype(float).min())


def evaluate(
    real: AnyImages,
    synthetic: AnyImages,
    extractors: Mapping[str, FeatureExtractor] = MappingProxyType({}),
    *,
    unseen: AnyImages | None = None,
    train: bool | CasSettings = False,
    ssim_images: int = PAIRED,
    n_resamples: int = 200,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    features: Mapping[str, Mapping[str, np.ndarray]] = MappingProxyType({}),
    pairs: Mapping[str, Images] = MappingProxyType({}),
) -> Evaluation:
    """Return every score of synthetic images beside real ones, and what follows from them.

    FID, KID, precision, recall, density and coverage per extractor, SSIM and MS-SSIM within each
    set, and copies. Sets with labels also have all of it per class, and CAFD, the mean of the
    classes' FIDs. docs/metrics.md says what each is. The order of images changes nothing but that
    of `memorisation.nearest` and `images`.

    Args:
        real: uint8 (n,h,w,C), C is 1 or 3, or a `meddiff.ImageSet`, which has classes and groups,
            too: what the synthetic images are to be like. Of a set with groups, images that stand
            for unseen ones share no group with the others, and intervals are over groups.
        synthetic: the same of synthetic images, (m,h,w,C).
        extractors: by name, nets whose features are compared; none for SSIM and copies alone.
        unseen: real images, (k,h,w,C), that the generator was not trained on, where it was on
            `real`: synthetic ones that come closer to `real` than they do are copies, and
            classifiers are tested on them.
        train: whether to train classifiers on every arm of docs/cas.md, or with which settings.
        ssim_images: images of each set whose pairs SSIM and MS-SSIM take, chosen at random; all
            classes together take as many again.
        n_resamples: random half-samples behind an interval.
        seed: fixes what is chosen at random.
        threads: classifiers that are trained at a time.
        device: torch device of the extractors and of pairs of images.
        features: by extractor and set (real, synthetic, noise, unseen), (n,d), where at hand.
        pairs: by set, images (k,h,w,C) of another size for SSIM and MS-SSIM: the first k in the
            order of `places_by_contents`.

    Raises:
        MeddiffError: a set is no array of images or has fewer than 2, the sets differ in size,
            channels or classes, `ssim_images` or `n_resamples` is below 4, or as
            `meddiff.assessment.training.train_classifiers`.
    """
    if not isinstance(extractors, Mapping):
        raise MeddiffError(
            f"extractors are a {type(extractors).__name__}: give them by name, as in "
            '{"inception": meddiff.load_extractor("inception")}'
        )
    sets = as_image_set(real), as_image_set(synthetic)
    others = None if unseen is None else as_image_set(unseen)
    arrays = {"real": sets[0].images, "synthetic": sets[1].images}
    arrays |= {} if others is None else {"unseen": others.images}
    # Before classifiers are trained, which takes minutes.
    check_sets(arrays, ssim_images=ssim_images, n_resamples=n_resamples)
    shared: dict[str, Any] = {
        "unseen": others,
        "n_resamples": n_resamples,
        "seed": seed,
        "device": device,
    }
    training = None
    if train:
        settings = train if isinstance(train, CasSettings) else QUICK
        training = train_classifiers(*sets, settings=settings, threads=threads, **shared)
    scored = scores.evaluate(
        *sets, extractors, ssim_images=ssim_images, features=features, pairs=pairs, **shared
    )
    return Evaluation(
        **{field.name: getattr(scored, field.name) for field in fields(scored)},
        training=training,
        findings=tuple(findings(scored, *sets, training)),
    )
