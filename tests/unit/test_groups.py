"""Several images of one patient: floors that share none, intervals over patients."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from meddiff.cli import main
from meddiff.core.errors import MeddiffError
from meddiff.data.grouping import grouped_by_name, groups_by
from meddiff.data.image_sets import ImageSet
from meddiff.evaluation.distances import distance_rows
from meddiff.evaluation.evaluate import evaluate
from meddiff.metrics import cafd, fid
from meddiff.metrics.distances import distance_at
from meddiff.metrics.groups import number_groups
from meddiff.metrics.intervals import half_samples, order_by_contents
from meddiff.metrics.pair_intervals import pairs_interval
from meddiff.metrics.parts import match_sizes

DIMENSIONS = 4


def patients(
    count: int, each: int, seed: int, *, within: float = 0.1
) -> tuple[np.ndarray, list[str]]:
    """Features of some images of each of some patients, who differ more than their images do."""
    chance = np.random.default_rng(seed)
    means = chance.normal(size=(count, 1, DIMENSIONS))
    features = means + within * chance.normal(size=(count, each, DIMENSIONS))
    return features.reshape(-1, DIMENSIONS), [f"p{n // each}" for n in range(count * each)]


def floor_and_score(real, groups, synthetic, seed: int = 0) -> pd.DataFrame:
    noise = np.random.default_rng(9).normal(scale=5, size=synthetic.shape)
    rows = distance_rows(
        "x",
        {"all": real},
        {"synthetic": {"all": synthetic}, "noise": {"all": noise}},
        groups={"reference": {"all": groups}},
        n_resamples=100,
        seed=seed,
    )
    return rows.set_index(["metric", "image_set"])


def test_the_floor_shares_no_patient_and_images_of_new_patients_score_as_real() -> None:
    real, groups = patients(30, 8, 0)
    synthetic, _ = patients(30, 8, 1)
    blind, aware = (floor_and_score(real, names, synthetic) for names in (None, groups))
    chance = np.random.default_rng(0)
    halves = [chance.permutation(30)[:15] for _ in range(40)]
    of_patient = np.arange(len(real)) // 8
    expected = np.mean(
        [fid(real[np.isin(of_patient, h)], real[~np.isin(of_patient, h)]) for h in halves]
    )
    assert aware.loc[("fid", "real"), "value"] == pytest.approx(expected, rel=0.2)
    assert blind.loc[("fid", "real"), "value"] < 0.3 * expected
    assert abs(aware.loc[("fid", "synthetic"), "score"] - 1) < 0.05
    # Coverage is of the same parts: one in two real images is of a patient in both, else.
    assert blind.loc[("coverage", "real"), "value"] > 0.9 > aware.loc[("coverage", "real"), "value"]


@pytest.mark.parametrize("metric", ["kid", "fid"])
def test_intervals_are_as_wide_as_new_patients_make_them(metric) -> None:
    """The spread over 60 draws of all patients, beside the mean standard error of each."""
    values, errors = [], {"aware": [], "blind": []}
    for draw in range(60):
        real, names = patients(24, 6, 100 + draw)
        synthetic = patients(144, 1, 1000 + draw)[0] + 0.5
        groups = number_groups(np.array(names)[order_by_contents(real)])
        for name, options in (("aware", {"reference": groups}), ("blind", {})):
            distance = distance_at(metric, synthetic, real, (144, 144), 40, 0, groups=options)
            errors[name].append(distance.estimate().error)
        values.append(distance.value)
    spread = np.std(values, ddof=1)
    assert np.mean(errors["aware"]) / spread == pytest.approx(1, abs=0.35)
    assert np.mean(errors["blind"]) / spread < 0.7


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=6, max_size=40), st.integers(0, 99))
def test_parts_share_no_group_with_the_rest(sizes: list[int], seed: int) -> None:
    names = np.repeat(np.arange(len(sizes)), sizes)
    groups = number_groups(np.random.default_rng(seed).permutation(names))
    n = len(names)
    parts = match_sizes(
        {"synthetic": 20}, n, n_resamples=8, seed=seed, groups={"reference": groups}
    )
    if "real" not in parts.sizes:
        assert n - max(sizes) + 1 < 4
        return
    assert parts.sizes["real"] == min(20, (n - max(sizes) + 1) // 2)
    members = np.arange(n) if groups is None else groups
    for weights in (parts.whole, parts.halves, parts.thinned):
        for one, rest in zip(weights.get("real", []), weights.get("reference", []), strict=True):
            assert not set(members[one > 0]) & set(members[rest > 0])
    assert {weights.sum() for weights in parts.whole["real"]} == {parts.sizes["real"]}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=4, max_size=30), st.integers(0, 99))
def test_halves_keep_groups_whole_and_are_even(sizes: list[int], seed: int) -> None:
    groups = number_groups(np.repeat(np.arange(len(sizes)), sizes))
    (halves,) = half_samples(sum(sizes), n_resamples=6, seed=seed, groups=[groups])
    assert np.array_equal(halves[::2] + halves[1::2], np.ones((3, sum(sizes))))
    if groups is not None:
        for half in halves:
            assert all(len(set(half[groups == group])) == 1 for group in set(groups))
            assert abs(half.sum() - sum(sizes) / 2) <= max(sizes) / 2
    # An image is as often in one half as in the other.
    (many,) = half_samples(sum(sizes), n_resamples=400, seed=seed, groups=[groups])
    assert np.abs(many[::2].mean(0) - 0.5).max() < 0.2


def test_pairs_of_a_set_have_wider_intervals_over_patients() -> None:
    """Pairs of 12 patients with 5 equal images each: they tell no more than 12 images do."""
    chance = np.random.default_rng(0)
    levels = chance.normal(size=12)
    of = np.repeat(np.arange(12), 5)
    values = np.array([levels[of[i]] + levels[of[j]] for i in range(60) for j in range(i + 1, 60)])
    aware = pairs_interval(values, groups=of.tolist(), n_resamples=400)
    expected = 2 * levels.std(ddof=1) / 12**0.5
    assert aware.error == pytest.approx(expected, rel=0.2)
    assert pairs_interval(values, n_resamples=400).error < 0.6 * expected


def test_groups_that_are_all_single_change_nothing() -> None:
    real, synthetic = patients(40, 1, 0)[0], patients(30, 1, 1)[0]
    alone = floor_and_score(real, [f"p{n}" for n in range(40)], synthetic)
    pd.testing.assert_frame_equal(alone, floor_and_score(real, None, synthetic))


def levels(images: np.ndarray) -> np.ndarray:
    return images[:, ::8, ::8].reshape(len(images), -1) / 50 - 2.5


class Levels:
    """Grey levels as features."""

    metrics = ()

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return levels(images)


def blots(n: int, seed: int, brightness: int) -> np.ndarray:
    chance = np.random.default_rng(seed)
    base = chance.normal(brightness, 12, (n, 4, 4, 1))
    return base.repeat(4, 1).repeat(4, 2).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def classes() -> dict[str, ImageSet]:
    sets = {}
    for seed, name in enumerate(["real", "synthetic"]):
        images = np.concatenate([blots(24, seed, 80), blots(20, 10 + seed, 170)])
        order = np.random.default_rng(seed).permutation(44)
        labels = np.repeat(["dark", "light"], [24, 20])[order]
        sets[name] = ImageSet(images[order], labels=tuple(labels))
    return sets


def test_each_class_has_the_rows_of_its_own_images_and_cafd_is_their_mean(classes) -> None:
    result = evaluate(**classes, extractors={"levels": Levels()}, n_resamples=20)
    fids = result.scores[result.scores["metric"] == "fid"].set_index("class")
    features = {key: levels(each.images) for key, each in classes.items()}
    labels = {key: np.array(each.labels) for key, each in classes.items()}
    by_class = [
        {name: features[key][labels[key] == name] for name in ("dark", "light")}
        for key in ("real", "synthetic")
    ]
    for name in ("dark", "light"):
        assert fids.loc[name, "value"] == pytest.approx(fid(by_class[0][name], by_class[1][name]))
    mean = result.scores.set_index("metric").loc["cafd"]
    assert mean["value"] == pytest.approx(cafd(*by_class)) and mean["class"] == "mean"
    assert fids.loc["all", "value"] == pytest.approx(fid(*features.values()))
    pairs = result.scores[result.scores["metric"] == "ssim within real"].set_index("class")
    assert pairs["n_real"].to_dict() == {"all": 44, "dark": 24, "light": 20}


def test_labels_that_are_exchanged_are_seen_in_the_classes_alone(classes) -> None:
    swapped = tuple({"dark": "light", "light": "dark"}[n] for n in classes["synthetic"].labels)
    result = evaluate(
        classes["real"],
        ImageSet(classes["synthetic"].images, labels=swapped),
        {"levels": Levels()},
        n_resamples=20,
    )
    scores = result.scores[result.scores["metric"] == "kid"].set_index("class")["score"]
    assert scores["all"] > 0.9 > 0.2 > scores[["dark", "light"]].max()


def test_sets_of_other_classes_are_refused(classes) -> None:
    other = ImageSet(classes["real"].images, labels=("a",) * 22 + ("dark",) * 22)
    with pytest.raises(MeddiffError, match=r"real: dark, light; synthetic: a, dark"):
        evaluate(classes["real"], other, n_resamples=8)


@pytest.mark.parametrize("name", ["labels", "groups", "ids"])
def test_labels_and_groups_are_as_many_as_images(name) -> None:
    with pytest.raises(MeddiffError, match=rf"{name}: 3 for 4 images"):
        ImageSet(np.zeros((4, 8, 8, 1), np.uint8), **{name: ("a", "b", "c")})


@pytest.mark.parametrize(
    ("pattern", "grouped"),
    [
        ("p{patient:03}_{image}.png", True),
        ("case{patient} slice{image:02}.jpg", True),
        ("P{patient}/anything{letter}.png", True),
        ("ISIC_{number:07}.jpg", False),
        ("{number}.png", False),
        ("kind{kind}_{number}.png", False),
        ("scan{letter}{number}", False),
    ],
)
@pytest.mark.parametrize("folder", ["", "melanoma/"])
def test_names_that_look_grouped(pattern, grouped, folder) -> None:
    names = [
        folder + pattern.format(patient=n // 4, image=n % 4, letter="abcd"[n % 4], number=n,
                                kind=n % 2)
        for n in range(40)
    ]  # fmt: skip
    message = grouped_by_name(names, ["melanoma"] * 40 if folder else None, "REAL")
    assert bool(message) == grouped
    if grouped:
        suggested = message.split("--groups '")[1].split("'")[0]
        groups = groups_by(pd.DataFrame({"id": names}), suggested, "REAL")
        assert groups.nunique() == 10 and (groups.value_counts() == 4).all()


def test_many_classes_are_no_patients() -> None:
    names = [f"class{'abcdefgh'[n % 8]}/img_{n}.png" for n in range(80)]
    assert not grouped_by_name(names, [name.split("/")[0] for name in names], "REAL")


ROWS = pd.DataFrame({"id": ["a1_0.png", "a2_1.png", "b.png"], "patient": ["x", "x", pd.NA]},
                    dtype="string")  # fmt: skip


@pytest.mark.parametrize(
    ("by", "error"),
    [("patient", r"'patient' .*1 of 3.*b\.png"), ("(a", r"--groups \(a: .*id, patient"),
     (r"(\w+)_", r"--groups .*id, patient.*1 of 3 .*b\.png")],
)  # fmt: skip
def test_groups_that_some_image_lacks_are_refused(by, error) -> None:
    with pytest.raises(MeddiffError, match=error):
        groups_by(ROWS, by, "REAL")


def test_groups_by_column_and_by_expression() -> None:
    rows = ROWS.head(2)
    assert groups_by(rows, "patient", "REAL").tolist() == ["x", "x"]
    assert groups_by(rows, "a[0-9]", "REAL").tolist() == ["a1", "a2"]
    assert groups_by(rows, "(a)([0-9])", "REAL").tolist() == ["a", "a"]


def test_the_command_reads_classes_and_groups(tmp_path, capsys, caplog) -> None:
    for seed, name in enumerate(["real", "synthetic"]):
        for label, brightness in (("dark", 80), ("light", 170)):
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for number, image in enumerate(blots(12, seed, brightness)):
                path = folder / f"p{number // 2}_{number % 2}.png"
                Image.fromarray(image[..., 0]).save(path)
    arguments = ["evaluate", str(tmp_path / "real"), str(tmp_path / "synthetic"),
                 "--extractor", "none", "--size", "16", "--n-resamples", "8"]  # fmt: skip
    with caplog.at_level(logging.WARNING):
        assert main(arguments) == 0
    assert "--groups" in caplog.text and "real" in caplog.text
    assert "dark" in capsys.readouterr().out
    caplog.clear()
    assert main([*arguments, "--groups", r"(p\d+)_", "--json"]) == 0
    rows = pd.DataFrame(json.loads(capsys.readouterr().out)["scores"])
    assert "look like" not in caplog.text
    assert set(rows["class"]) == {"all", "dark", "light"}
