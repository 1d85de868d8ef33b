"""Classifiers behind one interface learn what there is to learn, the same way every time."""

from typing import get_args

import numpy as np
import pytest
import torch
from torchvision.models import resnet50 as published_resnet50

from meddiff.cas.base import TrainingSet
from meddiff.cas.classifiers import CLASSIFIERS, HOG_SVM, build_classifier
from meddiff.cas.settings import CasSettings, ClassifierName
from meddiff.core.errors import MeddiffError

SETTINGS = CasSettings(steps=40, batch_size=16, lr=3e-3)


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Noise with stripes: upright ones are class 0, lying ones 1."""
    chance = np.random.default_rng(0)
    images = chance.integers(0, 120, (60, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(60) % 2
    images[labels == 0, :, ::4] += 130
    images[labels == 1, ::4] += 130
    return images, labels


def test_the_settings_name_every_classifier():
    assert {*get_args(ClassifierName), HOG_SVM} == set(CLASSIFIERS)


def taught(name, pictures, settings=SETTINGS, **options):
    images, labels = pictures
    classifier = build_classifier(name, 2, 32, settings, **options)
    seen = classifier.transform(images)
    training = TrainingSet(seen[:40], labels[:40], np.arange(40), settings.steps, 4, 3, "x")
    return classifier.fit(training).predict_proba(seen[40:])


@pytest.mark.parametrize("name", ["skinlesnet", "hog_svm"])
def test_it_learns_and_repeats_itself(name, pictures):
    scores, again = (taught(name, pictures) for _ in range(2))
    assert scores.shape == (20, 2) and scores.sum(1) == pytest.approx(1)
    assert (scores.argmax(1) == pictures[1][40:]).mean() > 0.9
    assert (scores == again).all()


def test_sixteen_bits_learn_as_well(pictures):
    scores = taught("skinlesnet", pictures, SETTINGS.model_copy(update={"precision": "bf16"}))
    assert (scores.argmax(1) == pictures[1][40:]).mean() > 0.9


def test_resnet50_on_frozen_weights_sees_torchvisions_features(pictures):
    torch.manual_seed(0)
    net = published_resnet50(weights=None).eval()
    weights = dict(net.state_dict())
    classifier = build_classifier("resnet50", 2, 32, SETTINGS, imagenet=weights)
    images = pictures[0][:3]
    seen = classifier.transform(images)
    net.fc = torch.nn.Identity()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    inputs = ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = net(inputs).numpy()
    assert seen.shape == (3, 2048)
    assert seen == pytest.approx(expected, rel=1e-3, abs=1e-4 * float(np.abs(expected).max()))
    assert (classifier.transform(np.roll(images, 1, axis=0))[2] == seen[1]).all()


def test_resnet50_says_what_it_began_with(pictures):
    images, labels = (part[:16] for part in pictures)
    for imagenet, note in ((None, "from scratch"), (published_resnet50().state_dict(), "frozen")):
        classifier = build_classifier("resnet50", 2, 32, SETTINGS, imagenet=imagenet)
        seen = classifier.transform(images)
        assert note in classifier.fit(TrainingSet(seen, labels, labels, 1, 1, 0, "x")).note


def test_resnet50s_head_learns_from_features():
    torch.manual_seed(0)
    weights = published_resnet50(weights=None).state_dict()
    settings = CasSettings(batch_size=16, lr=1e-3)
    classifier = build_classifier("resnet50", 2, 32, settings, imagenet=weights)
    chance, labels = np.random.default_rng(0), np.arange(140) % 2
    seen = (chance.normal(size=(140, 2048)) + labels[:, None]).astype(np.float32)
    learnt = classifier.fit(TrainingSet(seen[:120], labels[:120], np.arange(120), 120, 120, 3, "x"))
    assert (learnt.predict_proba(seen[120:]).argmax(1) == labels[120:]).mean() > 0.9


def test_others_are_refused():
    with pytest.raises(MeddiffError, match=r"\bvgg\b.*\bhog_svm\b"):
        build_classifier("vgg", 2, 32, SETTINGS)
