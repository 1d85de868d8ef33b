"""Tables, their text, and scores against scikit-learn's definitions by hand."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from meddiff.cas.tables import arms_table, read_runs, score_arms
from meddiff.core.randomness import stream
from meddiff.core.tables import KEYS, read_part, write_metrics, write_table
from meddiff.evaluation.distances import distance_matrix, distance_rows
from meddiff.evaluation.similarity import MeasuredPairs, similarity_matrix, similarity_rows
from meddiff.metrics import cafd, fid, kid, prdc, ssim_between
from meddiff.metrics.classification import (
    classification_intervals,
    confusion,
    label_scores,
    positive_class,
)
from meddiff.metrics.distances import NO_SCALE, TOO_FEW
from meddiff.metrics.noise import noise_like
from meddiff.metrics.similarity import pairs_of, too_small
from meddiff.reporting.extractor_quality import extractor_quality
from meddiff.reporting.figures.matrices import heat_map
from meddiff.reporting.image_quality import image_quality
from meddiff.reporting.show import show

STAMP = {"data": "phantom", "scale": "smoke", "protocol": "leak_free", "seed": 0}
CLASSES = ["benign", "malignant"]
DRAWN = {"n_resamples": 20, "seed": 0}
PAIRS = MeasuredPairs(
    {"ssim": np.array([0.2, 0.3, 0.4]), "ms_ssim": np.array([0.1, 0.2, 0.3])}, 3, 64
)


def entry(tp: int, fn: int, fp: int, tn: int) -> pd.DataFrame:
    rows = (
        [("malignant", "malignant")] * tp
        + [("malignant", "benign")] * fn
        + [("benign", "malignant")] * fp
        + [("benign", "benign")] * tn
    )
    return pd.DataFrame(rows, columns=["label", "predicted"])


def classification_scores(table: pd.DataFrame, classes: list[str]) -> dict[str, float]:
    labels, predicted = (
        table[column].map(classes.index).to_numpy() for column in ("label", "predicted")
    )
    values = label_scores(labels, predicted, classes)
    one = positive_class(classes)
    names = [("accuracy", "all"), ("precision", one), ("recall", one), ("f1", one)]
    return {name[0]: float(values[name][0]) for name in names}


def test_scores_are_the_studys_own():
    """SkinLesNet's confusion matrix in Table 5.1 gives its printed scores."""
    scores = classification_scores(entry(tp=567, fn=5, fp=14, tn=568), CLASSES)
    percent = {name: round(100 * value, 2) for name, value in scores.items()}
    assert percent == {"accuracy": 98.35, "precision": 97.59, "recall": 99.13, "f1": 98.35}
    assert confusion(entry(567, 5, 14, 568), CLASSES) == [[568, 14], [5, 567]]


def test_more_than_two_classes_are_averaged():
    table = pd.DataFrame({"label": list("aabc"), "predicted": list("abbb")})
    scores = classification_scores(table, ["a", "b", "c"])
    assert scores["accuracy"] == 0.5
    assert scores["recall"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert scores["precision"] == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_a_classifier_that_never_says_malignant_scores_zero():
    assert classification_scores(entry(0, 5, 0, 5), CLASSES)["precision"] == 0


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"]])
def test_intervals_of_scores_are_as_wide_as_fresh_test_sets_differ(classes):
    chance = np.random.default_rng(0)

    def drawn() -> pd.DataFrame:
        truth = chance.choice(classes, size=1000)
        entry = np.where(chance.random(1000) < 0.8, truth, chance.choice(classes, size=1000))
        return pd.DataFrame({"label": truth, "predicted": entry})

    result = classification_intervals(drawn(), classes, n_resamples=500, seed=0)
    fresh = pd.DataFrame([classification_scores(drawn(), classes) for _ in range(200)])
    assert list(result) == list(fresh)
    for name, entry in result.items():
        assert entry.error == pytest.approx(fresh[name].std(), rel=0.25), name
        assert entry.high - entry.low == pytest.approx(4 * fresh[name].std(), rel=0.25), name
        assert 0 <= entry.low < entry.value < entry.high <= 1


def test_a_perfect_classifier_may_still_err():
    result = classification_intervals(entry(20, 0, 0, 20), CLASSES, n_resamples=20, seed=0)
    for name, n in (("accuracy", 40), ("precision", 20), ("recall", 20), ("f1", 20)):
        assert result[name].value == result[name].high == 1
        # Student's, of a standard error of one image in n + 2.
        assert result[name].low == pytest.approx(1 - student.ppf(0.975, n - 1) / (n + 2))


@pytest.mark.parametrize("rate", [0.7, 0.9, 0.97])
def test_intervals_of_table_5_1_hold_the_true_score(rate):
    chance = np.random.default_rng(0)
    labels = np.array(CLASSES)[np.arange(100) % 2]
    covered = []
    for seed in range(200):
        wrong = chance.random(100) > rate
        predicted = np.where(wrong, labels[::-1], labels)
        table = pd.DataFrame({"label": labels, "predicted": predicted})
        result = classification_intervals(table, CLASSES, n_resamples=60, seed=seed)
        covered.append([result[n].low <= rate <= result[n].high for n in ("accuracy", "recall")])
    assert np.mean(covered, axis=0).min() >= 0.92


def test_perfect_means_over_classes_have_intervals_too():
    """Narrower with more images."""
    lows = []
    for n in (10, 100):
        truth = pd.Series(list("abc") * n)
        perfect = pd.DataFrame({"label": truth, "predicted": truth})
        result = classification_intervals(perfect, list("abc"), n_resamples=400, seed=0)
        lows.append([result[name].low for name in ("precision", "recall", "f1")])
        assert all(score.value == score.high == 1 for score in result.values())
    assert all(0.75 < low < 0.97 for low in lows[0])
    assert all(0.97 < low < 0.999 for low in lows[1])


def test_three_image_set_are_enough_for_extractor_quality():
    masks = pd.DataFrame({"dice": [0.5, 0.7, 0.9], "iou": 0.5, "mse": 0.1, "n_real": 4})
    table = extractor_quality({"skinlesnet": entry(1, 1, 0, 1)}, masks, CLASSES, {}, **DRAWN)
    first, unet = (row for _, row in table.iterrows())
    assert first["f1"] == pytest.approx(2 / 3) and pd.isna(first["f1_ci_low"])
    assert unet["dice"] == pytest.approx(0.7) and pd.isna(unet["dice_ci_low"])


def test_noise_has_the_images_moments():
    rng = np.random.default_rng(0)
    images = rng.normal([120, 90, 60], [20, 10, 5], (50, 16, 16, 3)).clip(0, 255).astype(np.uint8)
    noise = noise_like(images, 60, seed=0, name="x")
    assert noise.shape == (60, 16, 16, 3) and noise.dtype == np.uint8
    assert noise.mean((0, 1, 2)) == pytest.approx(images.mean((0, 1, 2)), abs=0.6)
    assert noise.std((0, 1, 2)) == pytest.approx(images.std((0, 1, 2)), abs=0.6)
    assert np.array_equal(noise, noise_like(images, 60, seed=0, name="x"))
    assert not np.array_equal(noise, noise_like(images, 60, seed=0, name="y"))


@pytest.mark.parametrize("block", [1, 1000, 2**30])
def test_blocks_of_noise_are_the_noise_of_one_draw(block, monkeypatch):
    images = np.random.default_rng(1).integers(0, 200, (13, 9, 7, 3), dtype=np.uint8)
    ends = images.mean((0, 1, 2)), images.std((0, 1, 2))
    drawn = stream(0, "noise images", "x").normal(*ends, (20, 9, 7, 3))
    monkeypatch.setattr("meddiff.metrics.noise._BLOCK_VALUES", block)
    noise = noise_like(images, 20, seed=0, name="x")
    assert np.array_equal(noise, drawn.round().clip(0, 255).astype(np.uint8))


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(30, 4)) for name in CLASSES}


@pytest.fixture
def table(features):
    shifted = {name: values + 1 for name, values in features.items()}
    rows = distance_rows("resnet50", features, {"synthetic": shifted, "real": features}, **DRAWN)
    rows["weights"] = "from scratch"
    parts = [rows] + [similarity_rows(name, "synthetic", PAIRS, **DRAWN) for name in CLASSES]
    return image_quality(parts, "test", {"unet": "no masks"})


def test_fid_of_a_shift_is_its_square(table):
    """Two equal sets one apart in each of four dimensions differ by 4 exactly."""
    fid = table[table["metric"] == "fid"].set_index(["image_set", "extractor"])["value"]
    assert fid.loc["synthetic", "resnet50"].tolist() == pytest.approx([4, 4])
    assert fid.loc["real", "resnet50"].tolist() == pytest.approx([0, 0], abs=1e-9)


def test_table_5_2_counts_images_and_keeps_notes(table):
    rows = table.set_index(["class", "image_set", "metric", "extractor"])
    synthetic = rows.loc[("benign", "synthetic", "fid", "resnet50")]
    assert (synthetic["n_real"], synthetic["n_synthetic"]) == (30, 30)
    assert synthetic["note"] == "weights: from scratch" and synthetic["reference"] == "test"
    real = rows.loc[("benign", "real", "fid", "resnet50")]
    assert (real["n_real"], real["n_synthetic"]) == (60, 0)
    ssim = rows[rows.index.get_level_values("metric") == "ssim"].iloc[0]
    assert ssim["value"] == pytest.approx(0.3) and ssim["std"] == pytest.approx(
        np.std([0.2, 0.3, 0.4])
    )


def draws(seed: int, n: int, d: int, *, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Features of quickly falling variance, as nets have them, of two classes."""
    chance = np.random.default_rng(seed)
    scale = 1 / np.sqrt(np.arange(1, d + 1))
    return {name: chance.normal(shift, size=(n, d)) * scale for name in CLASSES}


def distances_of(sets: dict, reference: dict, **options) -> pd.DataFrame:
    rows = distance_rows("x", reference, sets, **DRAWN, **options)
    return rows.set_index(["image_set", "class", "metric"])


@pytest.mark.parametrize("real", [60, 25])
def test_more_real_images_score_one_whatever_the_number(real):
    """In more dimensions than images, where FID is mostly bias, and with few real images."""
    scores = []
    for seed in range(6):
        sets = {
            "synthetic": draws(4 * seed, 60, 200),
            "real": draws(4 * seed + 1, real, 200),
            "noise": draws(4 * seed + 2, 60, 200, shift=2),
        }
        rows = distances_of(sets, draws(4 * seed + 3, 50, 200))
        scores.append(rows.loc["synthetic"]["score"].dropna())
        assert (rows.loc["real"]["n_real"].drop("mean") == 50 + real).all()
        assert (rows.loc["synthetic"]["n_synthetic"].drop("mean") <= 60).all()
    by_metric = pd.concat(scores).groupby("metric")
    assert set(by_metric.groups) == {"fid", "kid"}
    assert (by_metric.mean() - 1).abs().max() < 0.05


@pytest.mark.parametrize("floor", [{}, {"real": draws(1, 60, 8)}], ids=["halves", "unseen"])
@pytest.mark.parametrize("most", [4000, 50], ids=["few", "many"])
def test_floor_and_ceiling_need_no_synthetic_images(floor, most, monkeypatch):
    """All of one number, so that no random part of them is drawn."""
    monkeypatch.setattr("meddiff.evaluation.neighbours.MAX_FOR_NEIGHBOURS", most)
    ends = floor | {"noise": draws(2, 60, 8, shift=2)}
    reference = draws(3, 60 if floor else 120, 8)
    alone, beside = (
        distances_of(sets, reference) for sets in (ends, {"synthetic": draws(0, 60, 8)} | ends)
    )
    assert set(alone.index.get_level_values("image_set")) == {"real", "noise"}
    both = beside.loc[alone.index, ["value", "n_real", "n_synthetic"]]
    # Halves of the reference are drawn again for other sets: the same but for chance.
    tolerance = {"rtol": 1e-9} if floor else {"rtol": 0.3, "atol": 0.02}
    np.testing.assert_allclose(alone[list(both)].to_numpy(float), both, **tolerance)


def test_halves_of_the_reference_are_no_easier_than_all_of_it():
    """As under `as_published`: the floor's images are a part of the reference."""
    scores = []
    for seed in range(6):
        reference = draws(3 * seed, 80, 200)
        sets = {
            "synthetic": draws(3 * seed + 1, 60, 200),
            "noise": draws(3 * seed + 2, 60, 200, shift=2),
        }
        rows = distances_of(sets, reference)
        entry = rows.loc[("synthetic", "benign", "fid")]
        whole = fid(sets["synthetic"]["benign"], reference["benign"])
        few = fid(sets["synthetic"]["benign"][:40], reference["benign"][:40])
        assert entry["value"] == pytest.approx(whole)
        assert entry["matched"] == pytest.approx(few, rel=0.1) and entry["matched"] > 1.1 * whole
        assert rows.loc[("real", "benign", "fid"), "n_real"] == 80
        scores.append(rows.loc["synthetic"]["score"].dropna())
    assert (pd.concat(scores).groupby("metric").mean() - 1).abs().max() < 0.05


@pytest.mark.parametrize("held_out", [True, False])
def test_the_order_of_images_changes_nothing(held_out):
    """In rows of Table 5.2 and in the matrix, with parts of sets on either side."""
    reference = {"a": draws(0, 51, 20)["benign"]}
    sets = {"synthetic": {"a": draws(1, 70, 20, shift=0.2)["benign"]},
            "noise": {"a": draws(2, 40, 20, shift=2)["benign"]}}  # fmt: skip
    if held_out:
        sets["real"] = {"a": draws(3, 33, 20)["benign"]}

    def entry(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        chance = np.random.default_rng(seed)
        mixed = {key: {"a": chance.permutation(x["a"])} for key, x in sets.items()}
        reordered = {"a": chance.permutation(reference["a"])}
        every = {(key, "a"): x["a"] for key, x in {**mixed, "test": reordered}.items()}
        rows = distance_rows("x", reordered, mixed, **DRAWN)
        return rows, distance_matrix(every, "fid", most=25, **DRAWN)

    first, *others = (entry(seed) for seed in range(5))
    assert first[0].loc[first[0]["image_set"] == "synthetic", "score"].notna().any()
    for other in others:
        for one, again in zip(first, other, strict=True):
            pd.testing.assert_frame_equal(one, again, rtol=1e-5, atol=1e-9)


def test_a_number_of_parts_moves_less_with_the_seed_than_its_interval_allows():
    reference = {"a": draws(0, 51, 20)["benign"]}
    sets = {"synthetic": {"a": draws(1, 70, 20, shift=0.2)["benign"]},
            "noise": {"a": draws(2, 60, 20, shift=2)["benign"]}}  # fmt: skip
    seeds = [distance_rows("x", reference, sets, n_resamples=60, seed=seed) for seed in range(8)]
    for name in ("value", "matched", "score"):
        start = "" if name == "value" else f"{name}_"
        values = np.array([rows[name] for rows in seeds], float)
        width = np.mean(
            [rows[f"{start}ci_high"] - rows[f"{start}ci_low"] for rows in seeds], axis=0
        )
        finite = np.isfinite(width)
        assert finite.sum() >= 2
        assert (values[:, finite].std(axis=0) < width[finite] / 4).all()


def test_noise_scores_zero_and_a_score_has_an_interval():
    sets = {"synthetic": draws(0, 60, 8, shift=2), "real": draws(1, 60, 8),
            "noise": draws(2, 60, 8, shift=2)}  # fmt: skip
    table = image_quality([distance_rows("x", draws(3, 60, 8), sets, **DRAWN)], "test", {})
    entry = table.dropna(subset=["score"])
    assert set(entry["image_set"]) == {"synthetic"} and set(entry["metric"]) == {"fid", "kid"}
    assert entry["score"].abs().max() < 0.5
    assert ((entry["score_ci_low"] < 0) & (entry["score_ci_high"] > 0)).all()
    assert (entry["score_ci_high"] < 1).all()


def test_intervals_of_scores_hold_the_expected_score():
    """Of sets drawn anew, 95 % of intervals hold 1, within what 40 draws allow."""
    coverage = []
    for seed in range(40):
        sets = {"synthetic": draws(4 * seed, 50, 12), "real": draws(4 * seed + 1, 50, 12),
                "noise": draws(4 * seed + 2, 50, 12, shift=2)}  # fmt: skip
        rows = distances_of(sets, draws(4 * seed + 3, 50, 12))
        entry = rows.loc[("synthetic", "benign", "kid")]
        coverage.append(entry["score_ci_low"] <= 1 <= entry["score_ci_high"])
    assert np.mean(coverage) >= 0.85


def test_no_score_without_room_between_the_ends(features):
    """Noise no farther than real images: every number is there but the score."""
    sets = dict.fromkeys(["synthetic", "real", "noise"], features)
    rows = distances_of(sets, {name: values + 1 for name, values in features.items()})
    assert rows["value"].notna().all() and "score" not in rows
    assert set(rows.loc["synthetic"]["note"].dropna()) == {NO_SCALE}
    assert rows.loc["synthetic"]["note"].notna().sum() == 4


@pytest.mark.parametrize(("counts", "scored"), [
    ({"synthetic": 3, "noise": 9, "real": 9, "reference": 9}, False),
    ({"synthetic": 9, "noise": 9, "real": 3, "reference": 9}, False),
    ({"synthetic": 9, "noise": 9, "reference": 7}, False),
    ({"synthetic": 9, "noise": 9, "reference": 8}, True),
    ({"synthetic": 4, "noise": 4, "real": 4, "reference": 4}, True),
])  # fmt: skip
def test_too_few_images_for_an_interval_are_a_note_of_their_own(counts, scored):
    """However far noise is."""
    sets = {key: {"a": draws(place, n, 3, shift=900 * (key == "noise"))["benign"]}
            for place, (key, n) in enumerate(counts.items())}  # fmt: skip
    rows = distance_rows("x", sets.pop("reference"), sets, **DRAWN).set_index(
        ["image_set", "metric"]
    )
    entry = rows.loc["synthetic"].reindex(["fid", "kid"]).reindex(columns=["score", "note"])
    assert entry["score"].notna().all() == scored
    assert set(entry["note"].dropna()) == (set() if scored else {TOO_FEW})


def test_intervals_of_cover_hold_its_expected_value():
    """Shares at least as often as they say, density somewhat less often."""
    values, ends = [], []
    for seed in range(40):
        sets = {"synthetic": {"a": draws(2 * seed, 60, 12, shift=0.3)["benign"]}}
        rows = distance_rows("x", {"a": draws(2 * seed + 1, 60, 12)["benign"]}, sets,
                             n_resamples=40, seed=0).set_index(["image_set", "metric"])  # fmt: skip
        entry = rows.loc["synthetic"].loc[["precision", "recall", "density", "coverage"]]
        values.append(entry["value"])
        ends.append(entry[["ci_low", "ci_high"]])
    means = pd.DataFrame(values).reset_index(drop=True).mean()
    coverage = np.mean(
        [(end["ci_low"] <= means) & (means <= end["ci_high"]) for end in ends], axis=0
    )
    assert (coverage >= [0.9, 0.9, 0.8, 0.9]).all()
    sure = np.mean([end["ci_high"] - end["ci_low"] for end in ends], axis=0) / 3.92
    assert (sure < 2.5 * pd.DataFrame(values).std().to_numpy() + 0.01).all()


def test_cover_is_reported_of_equal_numbers_of_images():
    sets = {"synthetic": draws(0, 30, 3), "real": draws(1, 30, 3), "noise": draws(2, 60, 3)}
    reference = draws(3, 50, 3)
    rows = distances_of(sets, reference)
    expected = prdc(reference["benign"], sets["synthetic"]["benign"])
    for name in ("precision", "recall", "density", "coverage"):
        entry = rows.loc[("synthetic", "benign", name)]
        assert entry["value"] == pytest.approx(getattr(expected, name))
        assert entry["ci_low"] < entry["ci_high"] and entry["n_synthetic"] == 30
        assert ("real", "benign", name) in rows.index
        assert ("noise", "benign", name) not in rows.index


def test_neighbours_are_looked_for_among_so_many_images_at_most(monkeypatch):
    monkeypatch.setattr("meddiff.evaluation.neighbours.MAX_FOR_NEIGHBOURS", 40)
    rows = distances_of({"synthetic": draws(0, 60, 3), "noise": draws(2, 60, 3)}, draws(1, 90, 3))
    counts = rows.loc["synthetic", ["n_real", "n_synthetic"]].xs("coverage", level="metric")
    assert (counts == 20).all(axis=None)


def test_cafd_is_the_mean_over_classes_and_fid_infinity_needs_images(features):
    shifted = {name: values + 1 for name, values in features.items()}
    rows = distances_of({"synthetic": shifted}, features)
    assert rows.loc[("synthetic", "mean", "cafd"), "value"] == pytest.approx(
        cafd(shifted, features)
    )
    assert ("synthetic", "benign", "fid_infinity") in rows.index
    wide = distances_of({"synthetic": draws(0, 30, 9)}, draws(1, 30, 9))
    assert "fid_infinity" not in wide.index.get_level_values("metric")
    alone = distances_of({"synthetic": {"a": shifted["benign"]}}, {"a": features["benign"]})
    assert "cafd" not in alone.index.get_level_values("metric")


def test_cmmd_is_clips(features):
    rows = distance_rows("clip", features, {"synthetic": features}, metrics=["cmmd"], **DRAWN)
    assert "cmmd" in set(rows["metric"])


def test_intervals_hold_their_values(table):
    rows = table.dropna(subset=["ci_low"])
    cover = {"precision", "recall", "density", "coverage"}
    assert set(rows["metric"]) == {"fid", "kid", "cafd"} | cover
    assert (rows["ci_low"] <= rows["value"]).all() and (rows["value"] <= rows["ci_high"]).all()


def test_the_mean_over_classes_is_of_classes_with_other_sets_that_are_smallest():
    """Of one class all synthetic images are compared at once, of the other parts of them."""
    real, unseen, made = draws(0, 30, 3), draws(1, 30, 3), draws(2, 20, 3)
    unseen["benign"] = unseen["benign"][:12]
    rows = distance_rows("x", real, {"synthetic": made, "real": unseen}, **DRAWN)
    mean = rows.set_index(["image_set", "metric"]).loc[("synthetic", "cafd")]
    assert mean["value"] == pytest.approx(cafd(made, real))
    assert mean["ci_low"] < mean["value"] < mean["ci_high"]


def test_no_set_counts_more_images_than_the_synthetic_one(features):
    few = {name: values[:12] for name, values in features.items()}
    rows = distance_rows("x", features, {"synthetic": few, "real": features}, **DRAWN)
    rows = rows.set_index(["image_set", "class", "metric"])
    floor = rows.loc[("real", "benign", "fid")]
    chance = np.random.default_rng(0)
    reference = features["benign"]
    expected = [fid(chance.permutation(reference)[:12], reference) for _ in range(200)]
    assert floor["value"] == pytest.approx(np.mean(expected), abs=np.std(expected))
    assert floor["n_real"] == 30 + 12


@pytest.mark.parametrize("metric", ["fid", "kid"])
def test_a_matrix_of_distances_is_symmetric_and_fair(features, metric):
    sets = {("train", name): values for name, values in features.items()}
    sets["noise", "benign"] = features["benign"][:20] + 3
    matrix = distance_matrix(sets, metric, most=25, **DRAWN)
    assert len(matrix) == 9 and (matrix[["n_a", "n_b"]] == 20).all(axis=None)
    square = matrix["value"].to_numpy().reshape(3, 3)
    assert np.array_equal(square, square.T) and (np.diag(square) == 0).all()
    measure = {"fid": fid, "kid": kid}[metric]
    chance = np.random.default_rng(0)
    one, other = features["benign"], features["malignant"]
    expected = [
        measure(chance.permutation(one)[:20], chance.permutation(other)[:20]) for _ in range(200)
    ]
    result = matrix[(matrix["class_a"] == "benign") & (matrix["class_b"] == "malignant")].iloc[0]
    assert result["value"] == pytest.approx(np.mean(expected), abs=np.std(expected))
    assert result["ci_low"] < np.mean(expected) < result["ci_high"]


def test_a_matrix_of_similarities_has_pairs_within_on_its_diagonal():
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    sets = {("train", "a"): images[:4], ("synthetic", "a"): images[4:]}
    entry = []
    matrix = similarity_matrix(
        sets, "ssim", {"kernel_size": 5}, most=4, progress=entry.append, **DRAWN
    ).set_index(["image_set_a", "image_set_b"])
    between = ssim_between(images[:4], images[4:8], kernel_size=5)
    within = ssim_between(images[:4], images[:4], kernel_size=5)
    assert matrix.loc[("train", "synthetic"), "value"] == pytest.approx(between.mean())
    off = within[~np.eye(4, dtype=bool)]
    assert matrix.loc[("train", "train"), "value"] == pytest.approx(off.mean())
    assert entry == [1, 2, 3] and (matrix["n_a"] == 4).all()


def test_a_matrix_of_images_too_small_for_a_window_is_empty():
    images = np.random.default_rng(0).integers(0, 256, (9, 31, 31, 3), dtype=np.uint8)
    sets = {("train", "a"): images, ("synthetic", "a"): images}
    matrix = similarity_matrix(sets, "ms_ssim", {"kernel_size": 2}, most=9, **DRAWN)
    assert len(matrix) == 4 and matrix["value"].isna().all()
    heat_map(matrix, "ms_ssim")


def test_images_too_small_for_a_window_have_a_note_in_place_of_a_value():
    images = np.zeros((5, 31, 31, 3), np.uint8)
    pairs = {name: pairs_of(name, images, {"kernel_size": 2}) for name in ("ssim", "ms_ssim")}
    rows = similarity_rows("a", "real", MeasuredPairs(pairs, 5, 31), **DRAWN).set_index("metric")
    assert rows.loc["ssim", "value"] == 1 and rows.loc["ssim", "note"] == ""
    assert pd.isna(rows.loc["ms_ssim", "value"])
    assert rows.loc["ms_ssim", "note"] == too_small("ms_ssim", 31) != ""
    table = image_quality([rows.reset_index()], "test", {}).set_index("metric")
    assert "ms_ssim" in table.loc["ms_ssim", "note"]


def test_an_extractor_without_features_says_why(table):
    missing = table[table["extractor"] == "unet"]
    assert len(missing) == 2 and missing["value"].isna().all()
    assert (missing["note"] == "no masks").all()


def test_table_5_1_without_masks_says_so():
    table = extractor_quality(
        {"skinlesnet": entry(5, 1, 1, 5).assign(n_real=9)},
        None,
        CLASSES,
        {"unet": "no masks"},
        **DRAWN,
    )
    unet = table.set_index("extractor").loc["unet"]
    assert unet["note"] == "no masks" and pd.isna(unet["dice"]) and pd.isna(unet["n_test"])
    first = table.loc[0]
    assert first["confusion"] == "5 1 / 1 5" and first["class"] == "malignant"
    assert (first["n_real"], first["n_synthetic"], first["n_test"]) == (9, 0, 12)


def test_written_tables_begin_with_the_stamp(table, tmp_path):
    write_table(table, tmp_path / "t.csv", STAMP)
    read = pd.read_csv(tmp_path / "t.csv")
    assert list(read.columns[:4]) == list(STAMP)
    assert (read["scale"] == "smoke").all() and len(read) == len(table)


def test_every_row_names_the_file_that_it_comes_from(features, tmp_path):
    def part(frame: pd.DataFrame, name: str) -> pd.DataFrame:
        frame.to_csv(tmp_path / name, index=False)
        return read_part(tmp_path / name)

    runs = {name: part(entry(5, 1, 1, 5).assign(n_real=9), name) for name in ("a.csv", "b.csv")}
    expected = [str(tmp_path / name) for name in runs]
    first = extractor_quality(runs, None, CLASSES, {}, **DRAWN)
    assert first["source_file"].tolist()[:2] == expected and pd.isna(first["source_file"][2])
    rows = [
        distance_rows(name, features, {"synthetic": features}, **DRAWN)
        for name in ("unet", "resnet50")
    ]
    parts = [part(frame, frame["extractor"][0]) for frame in rows]
    second = image_quality(parts, "test", {"resnet50": "from scratch"})
    assert (second["source_file"] == str(tmp_path) + "/" + second["extractor"]).all()


def leaves(tree: dict, path: tuple = ()) -> dict:
    """Every number of a nested dictionary by its keys."""
    result = {}
    for key, value in tree.items():
        result |= leaves(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return result


def third_table(path):
    """Table 5.3 of one training on each of two arms, from predictions as the workflow has them."""
    run = entry(5, 1, 1, 5).assign(p_benign=0.4, p_malignant=0.6)
    run["id"] = run["group"] = [f"i{n}" for n in range(12)]
    run = run.assign(classifier="net", repetition=0, steps=3, note="")
    run = pd.concat([run.assign(set=name) for name in ("test", "validation")])
    counts = {"real": (10, 0), "mixed": (10, 4)}
    parts = [
        run.assign(arm=arm, n_images=n + m, n_real=n, n_synthetic=m)
        for arm, (n, m) in counts.items()
    ]
    pd.concat(parts).to_csv(path, index=False)
    scored = score_arms(read_runs([path]), CLASSES, specificity=0.9, n_resamples=20, seed=0)
    return arms_table(scored)


@pytest.fixture
def all_tables(features, tmp_path):
    """The three tables from parts as the workflow has them: read back from CSV."""
    frames = [
        distance_rows("resnet50", features, {"synthetic": features, "real": features}, **DRAWN)
    ]
    frames += [similarity_rows(name, "synthetic", PAIRS, **DRAWN) for name in CLASSES]
    parts = []
    for number, frame in enumerate(frames):
        frame.to_csv(tmp_path / f"{number}.csv", index=False)
        parts.append(read_part(tmp_path / f"{number}.csv"))
    run = entry(5, 1, 1, 5).assign(n_real=10, n_synthetic=4, source_file="x.csv")
    return {
        "5_1": extractor_quality({"skinlesnet": run}, None, CLASSES, {"unet": "no masks"}, **DRAWN),
        "5_2": image_quality(parts, "test", {"unet": "no masks", "resnet50": "from scratch"}),
        "5_3": third_table(tmp_path / "0.csv"),
    }


@pytest.mark.parametrize("name", ["5_1", "5_2", "5_3"])
def test_metrics_hold_every_number_of_a_table_under_the_texts_of_its_row(
    all_tables, name, tmp_path
):
    table = all_tables[name]
    write_metrics(table, tmp_path / "m.json")
    expected = {}
    for row in table.to_dict("records"):
        keys = [str(row[key]) for key in KEYS if pd.notna(row.get(key)) and row[key] != ""]
        for column in set(row) - {*KEYS, "confusion", "reference", "source_file", "note"}:
            if pd.notna(row[column]):
                expected[(*keys, column)] = pytest.approx(row[column])
    assert expected and leaves(json.loads((tmp_path / "m.json").read_text())) == expected


def test_metrics_read_as_dvc_shows_them(table, tmp_path):
    write_metrics(table, tmp_path / "m.json")
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["resnet50"]["benign"]["synthetic"]["fid"]["value"] == pytest.approx(4)
    assert metrics["benign"]["synthetic"]["ssim"]["value"] == pytest.approx(0.3)


def test_show_prints_the_studys_shape(table, tmp_path):
    write_table(table, tmp_path / "table_5_2.csv", STAMP)
    text = show(tmp_path / "table_5_2.csv")
    assert "data phantom, scale smoke, protocol leak_free" in text
    assert "0.3 ± 0.08" in text and "FID ResNet50 (4-d)" in text
    assert "U-Net: no masks" in text and "ResNet50: weights: from scratch" in text
    assert "NaN" not in text


@pytest.mark.parametrize("name", ["5_1", "5_2", "5_3"])
def test_show_prints_every_table(all_tables, name, tmp_path):
    write_table(all_tables[name], tmp_path / f"table_{name}.csv", STAMP)
    assert "phantom" in show(tmp_path / f"table_{name}.csv")


def test_show_prints_subsets_apart(table, tmp_path):
    black = table[table["metric"].eq("ssim")].assign(value=0.9, std=0.05, subset="black_background")
    write_table(pd.concat([table, black]), tmp_path / "table_5_2.csv", STAMP)
    text = show(tmp_path / "table_5_2.csv")
    assert "SSIM, black background" in text and "0.3 ± 0.08" in text and "0.9 ± 0.05" in text


def test_show_prints_a_metric_that_was_added(table, tmp_path):
    added = table[table["metric"].eq("fid")].assign(metric="means", value=77.25, ci_low=np.nan)
    write_table(pd.concat([table, added]), tmp_path / "table_5_2.csv", STAMP)
    text = show(tmp_path / "table_5_2.csv")
    assert "means ResNet50 (4-d)" in text and "77.25" in text and "FID ResNet50 (4-d)" in text


def test_show_warns_of_few_images(tmp_path):
    rows = distance_rows("net", draws(0, 9, 30), {"synthetic": draws(1, 9, 30)}, **DRAWN)
    write_table(image_quality([rows], "test", {}), tmp_path / "t.csv", STAMP)
    assert re.search(r"fewer .*\(net\)", show(tmp_path / "t.csv"))


def test_show_prints_other_tables_as_they_stand(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n")
    pd.testing.assert_frame_equal(
        pd.read_csv(io.StringIO(show(tmp_path / "t.csv")), sep=r"\s+"),
        pd.DataFrame({"a": [1], "b": ["x"]}),
    )
