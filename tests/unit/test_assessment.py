"""Image sets from anywhere: how real ones are split, and that what was planted is said."""

import json
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

import meddiff
from meddiff.assessment.findings import findings
from meddiff.assessment.splitting import split_real
from meddiff.cas.settings import CasSettings
from meddiff.cli import main
from meddiff.core.errors import MeddiffError
from meddiff.data.image_sets import ImageSet
from meddiff.evaluation.distances import distance_rows
from meddiff.metrics.sharpness import sharpness

QUICK = CasSettings(steps=2, n_repeats=2, arms=["synthetic", "real", "mixed"],
                    non_inferiority_margin=0.1)  # fmt: skip
SIDE = 32


def shapes(each: int, seed: int, *, groups: int | None = None) -> ImageSet:
    """Discs and bars of random place and size, one class each."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    images = []
    for number in range(2 * each):
        a, b = chance.uniform(10, 22, 2)
        size = chance.uniform(4, 9)
        if number < each:
            inside = (y - a) ** 2 + (x - b) ** 2 < size**2
        else:
            inside = np.abs(x - b) < size / 2
        images.append(np.where(inside, 90, 200) + chance.normal(0, 6, (SIDE, SIDE)))
    pixels = np.stack(images).clip(0, 255).astype(np.uint8)[..., None]
    names = None if groups is None else tuple(f"p{number % groups}" for number in range(2 * each))
    ids = tuple(f"i{number}.png" for number in range(2 * each))
    return ImageSet(pixels, ids, ("disc",) * each + ("bar",) * each, names)


def coarse(images: np.ndarray) -> np.ndarray:
    n = len(images)
    return images.reshape(n, SIDE // 4, 4, SIDE // 4, 4).mean((2, 4)).reshape(n, -1) / 64 - 2


class Coarse:
    """Means of 4x4 squares as features."""

    metrics = ()

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return coarse(images)


NET = {"coarse": Coarse()}


def exchanged(images: ImageSet) -> ImageSet:
    other = {"disc": "bar", "bar": "disc"}
    return replace(images, labels=tuple(other[name] for name in images.labels))


def blurred(images: ImageSet) -> ImageSet:
    smooth = [
        np.asarray(Image.fromarray(image[..., 0]).filter(ImageFilter.GaussianBlur(2)))
        for image in images.images
    ]
    return replace(images, images=np.stack(smooth)[..., None])


def noise(images: ImageSet) -> ImageSet:
    shape = images.images.shape
    return replace(images, images=np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def copied(images: ImageSet) -> ImageSet:
    """Mirrored, and a grey level off."""
    return replace(images, images=(shapes(40, 0).images[:, :, ::-1] ^ 1)[: len(images)])


@pytest.fixture(scope="module")
def evaluated():
    """What is said of synthetic images that were changed in a known way."""

    @cache
    def of(change, train: bool = False) -> meddiff.Evaluation:
        sets = shapes(40, 0), change(shapes(40, 1))
        return meddiff.evaluate(*sets, NET, train=QUICK if train else False, n_resamples=40)

    return of


def kept(images: ImageSet) -> ImageSet:
    return images


def problems(result: meddiff.Evaluation) -> str:
    return "\n".join(each.text for each in result.findings if each.kind == "problem")


def test_images_as_real_ones_can_replace_them_and_have_no_problem(evaluated) -> None:
    result = evaluated(kept, train=True)
    assert "can replace" in result.answer and not problems(result)
    assert result.number("score") > 0.9 and result.number("accuracy") > 0.9
    images = result.images[result.images["image_set"] == "synthetic"]
    assert images["authentic"].mean() > 0.25 and not images["copy"].any()
    assert images["inside"].mean() > 0.7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (exchanged, "farther"),
        (blurred, "blurred"),
        (noise, "noisy"),
        (noise, r"nearer .*noise .*\bKID\b"),
        (copied, "80 of 80 .*copies"),
    ],
)
def test_what_was_planted_is_said(evaluated, change, words) -> None:
    assert re.search(words, problems(evaluated(change)))


def test_exchanged_labels_cannot_replace(evaluated) -> None:
    assert "cannot replace" in evaluated(exchanged, train=True).answer
    assert "taken for" in problems(evaluated(exchanged, train=True))
    accuracy = evaluated(exchanged, train=True).number("accuracy")
    assert accuracy < 0.2, "worse than chance"
    shares = evaluated(exchanged, train=True).training.recognised
    assert shares[shares["class"] != shares["predicted"]]["share"].max() > 0.8


@pytest.mark.parametrize(
    ("share", "of_real", "n", "accused"),
    [(0.9, 0.1, 40, True), (0.57, 0.1, 40, False), (0.57, 0.1, 4000, True), (0.9, 0.8, 40, False)],
)
def test_labels_are_exchanged_where_more_than_chance_and_real_images_say_so(
    evaluated, share, of_real, n, accused
) -> None:
    result = evaluated(kept, train=True)
    shares = pd.DataFrame({
        "classifier": result.training.verdict["classifier"].iloc[0],
        "class": "disc", "predicted": ["bar", "disc"], "n_images": n,
        "share": [share, 1 - share], "real_share": [of_real, 1 - of_real],
    })  # fmt: skip
    sets = shapes(40, 0), shapes(40, 1)
    sentences = findings(result, *sets, replace(result.training, recognised=shares))
    assert accused == any("taken for" in each.text for each in sentences)


@pytest.mark.parametrize(
    ("of_all", "ends", "accused"),
    [
        ([0.98], [0.3, 0.7], True),
        ([0.98], [0.3, 0.95], False),
        ([0.98], [0.3, np.nan], False),
        ([0.5], [0.3, 0.45], False),
        ([1.2], [0.85, 1.0], False),
        ([np.nan], [0.3, 0.7], False),
        ([], [0.3, 0.7], False),
    ],
)
def test_a_class_is_worse_where_its_whole_interval_is(evaluated, of_all, ends, accused) -> None:
    result = evaluated(kept)
    scores = pd.DataFrame({
        "metric": "kid", "extractor": "coarse", "class": ["all"] * len(of_all) + ["disc"],
        "score": [*of_all, 0.5], "score_ci_low": [*of_all, ends[0]],
        "score_ci_high": [*of_all, ends[1]],
    })  # fmt: skip
    scores = scores.reindex(columns=result.scores.columns)
    sentences = findings(replace(result, scores=scores), shapes(40, 0), shapes(40, 1), None)
    texts = [each.text for each in sentences if "farther" in each.text]
    assert len(texts) == accused and all("disc 0.50 [0.30, 0.70]" in text for text in texts)


@pytest.mark.slow
@pytest.mark.parametrize(("apart", "draws"), [(0, 30), (2, 8)])
def test_classes_of_one_distribution_are_not_accused_more_than_chance_allows(
    evaluated, apart, draws
) -> None:
    """Seven classes of 20 normal images in 8 dimensions; the images of one may be apart."""
    accused = 0
    for seed in range(draws):
        chance = np.random.default_rng(seed)
        sets = {name: {f"c{n}": chance.normal(size=(count, 8)) for n in range(7)}
                for name, count in (("real", 20), ("synthetic", 20), ("noise", 10))}  # fmt: skip
        sets["synthetic"]["c3"] += apart
        parts = []
        for part in ({"all": range(7)}, {f"c{n}": [n] for n in range(7)}):
            real, synthetic, noise = (
                {name: np.concatenate([sets[key][f"c{n}"] for n in of]) + 0.9 * (key == "noise")
                 for name, of in part.items()}
                for key in sets
            )  # fmt: skip
            scored = {"synthetic": synthetic, "noise": noise}
            parts.append(distance_rows("x", real, scored, n_resamples=40, seed=seed))
        rows = pd.concat(parts)
        scores = rows[rows["image_set"] == "synthetic"].drop(columns="image_set")
        result = replace(evaluated(kept), scores=scores.assign(floor=np.nan))
        sentences = findings(result, shapes(40, 0), shapes(40, 1), None)
        accused += any("farther" in each.text for each in sentences)
    assert accused <= 0.05 * draws if not apart else accused >= 0.75 * draws


def test_a_set_that_is_another_again_is_called_copies(evaluated) -> None:
    assert "copies" in evaluated(copied).answer


@pytest.mark.slow
def test_noise_cannot_replace(evaluated) -> None:
    assert "cannot replace" in evaluated(noise, train=True).answer


@pytest.mark.slow
def test_copies_are_good_to_train_on_and_are_said_to_be_copies(evaluated) -> None:
    result = evaluated(copied, train=True)
    assert re.search("can replace.*problems", result.answer)
    assert result.images["copy"].sum() == 80


def test_the_result_is_plain_data(evaluated) -> None:
    output = json.loads(json.dumps(evaluated(kept, train=True).to_dict()))
    assert output["findings"][0]["kind"] == "answer"
    verdict = output["training"]["verdict"]
    assert {row["question"] for row in verdict} == {"replace", "add"}
    assert sum(output["training"]["images"]["test"].values()) == 28
    with pytest.raises(MeddiffError, match=r"\bkix\b.*\bkid\b"):
        evaluated(kept).number("kix")


def digest(images: ImageSet) -> set[bytes]:
    return {image.tobytes() for image in images.images}


@pytest.mark.parametrize("with_unseen", [False, True])
def test_no_part_shares_a_patient_or_nearly_the_same_image(with_unseen) -> None:
    real = shapes(60, 0, groups=40)
    pixels = real.images.copy()
    pixels[[3, 70]] = pixels[[9, 100]][:, ::-1] ^ 1
    real = replace(real, images=pixels)
    unseen = replace(shapes(30, 5), groups=tuple(f"u{n}" for n in range(60)))
    mixed = unseen.images.copy()
    mixed[:4] = pixels[20:24]
    unseen = replace(unseen, images=mixed, groups=("p7", *(unseen.groups or ())[1:]))
    split = split_real(real, unseen if with_unseen else None, seed=0)
    parts = [split.train, split.validation, split.test]
    for one in range(3):
        for other in range(one):
            assert not set(parts[one].groups) & set(parts[other].groups)
            assert not digest(parts[one]) & digest(parts[other])
    assert split.duplicates == 2
    total = sum(map(len, parts))
    assert total == (118 + 56 if with_unseen else 118)
    assert split.shared == (4 if with_unseen else 0)
    if with_unseen:
        assert digest(split.test) <= digest(unseen)
    # Neither names nor order count.
    order = np.random.default_rng(1).permutation(len(real))
    again = split_real(replace(real.take(order), ids=()), unseen if with_unseen else None, seed=0)
    for name in ("train", "validation", "test"):
        assert digest(getattr(again, name)) == digest(getattr(split, name))


@pytest.mark.parametrize("labelled", ["neither", "one class"])
def test_training_needs_classes(labelled) -> None:
    sets = [shapes(20, seed) for seed in (0, 1)]
    labels = None if labelled == "neither" else ("disc",) * 40
    sets = [replace(each, labels=labels) for each in sets]
    with pytest.raises(MeddiffError, match="two classes"):
        meddiff.evaluate(*sets, train=True)


def test_a_class_of_few_patients_is_refused() -> None:
    few = shapes(20, 0)
    groups = tuple(f"{n % 20 if n < 20 else n % 3}" for n in range(40))
    with pytest.raises(MeddiffError, match=r"class bar: .*\b20 .*\b3 patients"):
        meddiff.evaluate(replace(few, groups=groups), shapes(20, 1), train=True)


def test_sharpness_is_the_variance_of_scipys_laplacian() -> None:
    from scipy.ndimage import laplace

    images = np.random.default_rng(0).integers(0, 256, (3, 12, 9, 3), dtype=np.uint8)
    expected = [laplace(image.mean(2))[1:-1, 1:-1].var() for image in images]
    np.testing.assert_allclose(sharpness(images), expected)
    assert (sharpness(images[:, :2]) == 0).all()


@pytest.fixture
def folders(tmp_path):
    for name, images in (("real", shapes(30, 0)), ("synthetic", shapes(30, 1))):
        for number, image in enumerate(images.images):
            folder = tmp_path / name / images.labels[number]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(folder / f"{number:02}.png")
    return str(tmp_path / "real"), str(tmp_path / "synthetic")


def test_the_command_answers(folders, capsys, monkeypatch) -> None:
    monkeypatch.setattr("meddiff.assessment.training.QUICK", QUICK)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    arguments = ["evaluate", *folders, "--extractor", "none", "--size", "32", "--train",
                 "--repeats", "2", "--margin", "0.3", "--n-resamples", "20"]  # fmt: skip
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert "can replace" in output.splitlines()[0]
    text = " ".join(output.split())
    assert "0.3 (`--margin`)" in text and "`--unseen`" in text


@pytest.mark.slow
def test_trainings_side_by_side_are_those_one_after_the_other() -> None:
    sets = shapes(40, 0), shapes(40, 1)
    alone, beside = (meddiff.evaluate(*sets, train=QUICK, threads=n).to_dict() for n in (1, 2))
    assert alone == beside


@pytest.mark.parametrize("bad", [["--margin", "0"], ["--margin", "1"], ["--repeats", "0"]])
def test_bad_options_are_named(folders, capsys, bad) -> None:
    assert main(["evaluate", *folders, "--train", *bad]) == 1
    assert f"{bad[0]} is {float(bad[1]):g}" in capsys.readouterr().err.replace(".0:", ":")
