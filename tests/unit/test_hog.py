"""HOG and SVM against closed forms and scikit-learn's own search."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

from meddiff.cas.base import TrainingSet
from meddiff.cas.hog import HogSvm, hog_features
from meddiff.cas.settings import HogSvmSettings
from meddiff.core.errors import MeddiffError


def training(inputs, labels, groups=None, seed=0) -> TrainingSet:
    groups = np.arange(len(labels)) if groups is None else groups
    return TrainingSet(inputs, labels, groups, 0, 1, seed, "x")


@pytest.fixture(scope="module")
def points() -> tuple[np.ndarray, np.ndarray]:
    """Two classes of points that no straight line tells apart."""
    chance = np.random.default_rng(0)
    inputs = chance.normal(size=(120, 6)).astype(np.float32)
    return inputs, (np.abs(inputs[:, 0]) + 0.3 * chance.normal(size=120) > 0.7).astype(np.int64)


@pytest.mark.parametrize(
    ("axis", "directions"),
    [(1, {0, 8}), (0, {4})],  # Directions are 20 degrees wide: 0 lies between two, 90 within one.
)
def test_a_ramp_points_one_way(axis, directions):
    ramp = np.indices((64, 64))[axis][:, :, None].repeat(3, 2).astype(np.uint8) * 3
    features = hog_features(ramp[None])
    assert features.shape == (1, 30_276) and features.dtype == np.float32
    # The border's gradient is 0 in OpenCV, so that outer blocks hold less.
    inner = features.reshape(29, 29, 4, 9)[2:-2, 2:-2]
    assert set(np.flatnonzero(inner.sum((0, 1, 2)) > 1e-3)) == directions
    assert np.linalg.norm(inner.reshape(25 * 25, 36), axis=1) == pytest.approx(1, abs=1e-2)


def test_light_and_contrast_change_little():
    image = np.random.default_rng(0).integers(60, 120, (1, 64, 64, 3), dtype=np.uint8)
    plain = hog_features(image)
    assert hog_features(image + 50) == pytest.approx(plain, abs=1e-6)
    assert hog_features(image * 2) == pytest.approx(plain, abs=2e-2)
    assert not hog_features(np.full_like(image, 9)).any()


def test_other_sizes_are_resized_and_rows_are_independent():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    together = hog_features(images)
    assert together.shape == (5, 30_276)
    assert (hog_features(images[3:4])[0] == together[3]).all()


def test_the_search_is_scikit_learns(points):
    inputs, labels = points
    settings = HogSvmSettings(C=[0.1, 1, 10], kernels=["linear", "rbf", "poly"], folds=3)
    machine = HogSvm(settings)
    learnt = machine.fit(training(inputs, labels))
    folds, _ = machine._folds(training(inputs, labels))
    grid = {"C": settings.C, "kernel": settings.kernels}
    gamma = 1 / (6 * inputs.astype(float).var())
    search = GridSearchCV(SVC(gamma=gamma), grid, cv=folds).fit(inputs.astype(float), labels)
    chosen = search.best_params_
    assert learnt.note.startswith(f"kernel {chosen['kernel']}, C {chosen['C']:g}")
    assert chosen["kernel"] != "linear" and learnt.steps is None
    fresh = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)
    probabilities = learnt.predict_proba(fresh)
    assert probabilities.sum(1) == pytest.approx(1)
    decided = search.decision_function(fresh.astype(float))
    assert (np.argsort(probabilities[:, 1]) == np.argsort(decided)).all()
    assert (probabilities.argmax(1) == search.predict(fresh.astype(float))).all()


def test_probabilities_are_the_machines_own_classes_even_of_noise():
    """A line fitted to decisions that tell nothing may turn them round."""
    for seed in range(8):
        chance = np.random.default_rng(seed)
        inputs, labels = chance.normal(size=(40, 5)).astype(np.float32), np.arange(40) % 2
        learnt = HogSvm(HogSvmSettings(C=[1], kernels=["linear"])).fit(training(inputs, labels))
        machine = SVC(kernel="linear", C=1).fit(inputs.astype(float), labels)
        fresh = chance.normal(size=(60, 5)).astype(np.float32)
        probabilities = learnt.predict_proba(fresh)
        assert (probabilities.argmax(1) == machine.predict(fresh.astype(float))).all()


def test_probabilities_are_calibrated():
    """Of what is called 80 % likely, 80 % is so: points on a line, whose true odds are known."""
    chance = np.random.default_rng(0)
    inputs = chance.normal(size=(1200, 1)).astype(np.float32)
    truth = 1 / (1 + np.exp(-3 * inputs[:, 0]))
    labels = (chance.random(1200) < truth).astype(np.int64)
    learnt = HogSvm(HogSvmSettings(C=[1], kernels=["linear"])).fit(training(inputs, labels))
    assert learnt.predict_proba(inputs)[:, 1] == pytest.approx(truth, abs=0.06)


def test_threads_change_nothing(points):
    fresh = points[0][:20]
    one, two = (
        HogSvm(HogSvmSettings(), threads=n).fit(training(*points)).predict_proba(fresh)
        for n in (1, 2)
    )
    assert (one == two).all()


def test_three_classes(points):
    inputs, _ = points
    labels = np.digitize(inputs[:, 1], [-0.4, 0.4])
    learnt = HogSvm(HogSvmSettings(folds=3)).fit(training(inputs, labels))
    probabilities = learnt.predict_proba(inputs)
    assert probabilities.shape == (120, 3) and probabilities.sum(1) == pytest.approx(1)
    assert (probabilities.argmax(1) == labels).mean() > 0.8


def test_groups_stay_on_one_side_of_every_fold(points):
    inputs, labels = points
    groups = np.arange(120) // 4
    for learn, test in HogSvm(HogSvmSettings())._folds(training(inputs, labels, groups))[0]:
        assert not set(groups[learn]) & set(groups[test])
        assert len(set(labels[learn])) == 2


@pytest.mark.parametrize(
    "groups",
    [np.zeros(30, int), np.tile([0, 0, 1, 1, 2, 2], 5)],
    ids=["one group", "one fold's training images are a single group's"],
)
def test_too_few_groups_divide_by_image_and_say_so(groups):
    inputs = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    labels = np.tile([0, 1, 1, 2, 2, 0], 5)
    learnt = HogSvm(HogSvmSettings(folds=2)).fit(training(inputs, labels, groups))
    assert "by image" in learnt.note
    assert learnt.predict_proba(inputs).shape == (30, 3)


def test_a_class_of_one_image_is_one_line(points):
    inputs, _ = points
    with pytest.raises(MeddiffError, match=r"^x: .*one training image") as error:
        HogSvm(HogSvmSettings()).fit(training(inputs, np.eye(120, dtype=np.int64)[0]))
    assert "\n" not in str(error.value)
