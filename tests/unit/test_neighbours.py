"""Precision to coverage and memorisation against torch-fidelity, loops, closed forms and plants."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata
from torch_fidelity.metric_prc import calculate_precision_recall_full

from meddiff.core.errors import MeddiffError
from meddiff.metrics import memorisation, prdc
from meddiff.metrics.copies import judge_copies
from meddiff.metrics.nearest import Nearest, nearest_training
from meddiff.metrics.precision_recall import weighted_prdc


def features(seed, n, d, shift=0.0, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(n, d)) + shift


def looped_prdc(real, synthetic, k):
    """Kynkäänniemi et al. 2019, eq. 1 and 2; Naeem et al. 2020, eq. 4 and 5."""

    def distance(x, y):
        return np.sqrt(sum((x - y) ** 2))

    def reaches(x):
        return [sorted(distance(u, v) for j, v in enumerate(x) if j != i)[k - 1]
                for i, u in enumerate(x)]  # fmt: skip

    reach_real, reach_synthetic = reaches(real), reaches(synthetic)
    n, m = len(real), len(synthetic)
    inside = [[distance(x, y) <= r for x, r in zip(real, reach_real, strict=True)]
              for y in synthetic]  # fmt: skip
    back = [[distance(x, y) <= r for y, r in zip(synthetic, reach_synthetic, strict=True)]
            for x in real]  # fmt: skip
    return (
        sum(map(any, inside)) / m,
        sum(map(any, back)) / n,
        sum(map(sum, inside)) / (k * m),
        sum(map(any, zip(*inside, strict=True))) / n,
    )


def values(result):
    return result.precision, result.recall, result.density, result.coverage


@pytest.mark.parametrize("k", [1, 3, 7])
def test_prdc_equals_loops_on_sets_of_different_size(k):
    real, synthetic = features(1, 30, 3), features(2, 22, 3, 0.8)
    expected = looped_prdc(real, synthetic, k)
    assert values(prdc(real, synthetic, neighbours=k)) == pytest.approx(expected)


@pytest.mark.parametrize("d", [2, 64])
def test_precision_and_recall_equal_torch_fidelity(d):
    real, synthetic = features(1, 150, d), features(2, 120, d, 0.3, 0.8)
    expected = calculate_precision_recall_full(torch.tensor(synthetic), torch.tensor(real), 3)
    result = prdc(real, synthetic, neighbours=3)
    assert (result.precision, result.recall) == pytest.approx(expected, rel=1e-6)


def test_density_and_coverage_of_one_distribution_have_closed_forms():
    """Ranks alone decide, whatever the distribution: Naeem et al. 2020, lemma 2 for coverage."""
    n, m, k, repeats = 30, 20, 3, 400
    results = [
        prdc(features(2 * s, n, 4), features(2 * s + 1, m, 4), neighbours=k) for s in range(repeats)
    ]
    density = np.array([r.density for r in results])
    coverage = np.array([r.coverage for r in results])
    missed = np.prod([(n - i) / (n + m - i) for i in range(1, k + 1)])
    assert abs(density.mean() - 1) < 4 * density.std() / repeats**0.5
    assert abs(coverage.mean() - (1 - missed)) < 4 * coverage.std() / repeats**0.5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 20), st.integers(4, 20), st.integers(1, 6))
def test_prdc_is_in_range_blind_to_order_and_mirrored_by_swapping(seed, n, m, d):
    real, synthetic = features(seed, n, d), features(seed + 1, m, d, 0.5)
    result, swapped = (
        prdc(real, synthetic, neighbours=3),
        prdc(synthetic, real, neighbours=3),
    )
    assert all(0 <= value <= 1 for value in (result.precision, result.recall, result.coverage))
    assert result.density >= 0
    assert (result.precision, result.recall) == (swapped.recall, swapped.precision)
    assert prdc(real[::-1], synthetic[::-1], neighbours=3) == result
    assert prdc(real + 5, synthetic + 5, neighbours=3) == result


@pytest.mark.parametrize("offset", [0, 1e4])
def test_identical_sets_are_wholly_within_reach_to_the_last_neighbour(offset):
    """Every image lies in its own ball and, without ties, in k others on average."""
    real = features(1, 60, 30) + offset
    assert values(prdc(real, real[::-1].copy())) == (1, 1, pytest.approx(6 / 5), 1)


@pytest.mark.parametrize("level", [0.0, 3.3, 1e6 / 7])
def test_constant_features_are_within_reach_of_each_other(level):
    constant = np.full((8, 50), level)
    assert values(prdc(constant, constant[:7])) == (1, 1, 8 / 5, 1)


def test_distant_sets_share_nothing():
    assert values(prdc(features(1, 30, 5), features(2, 30, 5, 100))) == (0, 0, 0, 0)


def test_mode_collapse_lowers_recall_and_coverage_but_not_precision():
    modes = np.repeat(10 * np.eye(4), 50, axis=0)
    real, varied = modes + features(1, 200, 4), modes + features(2, 200, 4)
    collapsed = modes[0] + features(3, 200, 4)
    good, poor = prdc(real, varied), prdc(real, collapsed)
    assert good.recall > 0.8 and good.coverage > 0.8
    assert poor.recall < 0.4 and poor.coverage < 0.4
    assert poor.precision > 0.8


def test_noise_lowers_precision_and_density_but_not_recall():
    real = features(1, 200, 4)
    good, noisy = prdc(real, features(2, 200, 4)), prdc(real, features(3, 200, 4, scale=6))
    assert noisy.precision < good.precision - 0.4
    assert noisy.density < good.density - 0.4
    assert noisy.recall > 0.8


@pytest.mark.parametrize("share", [0.15, 0.5, 0.9])
def test_scores_of_weighted_images_are_those_of_the_images(share):
    real, synthetic = features(1, 80, 6), features(2, 100, 6, 0.3)
    real[:20] = synthetic[:20]
    chance = np.random.default_rng(0)
    rows, columns = ((chance.random((5, n)) < share) * 1.0 for n in (80, 100))
    outcome = weighted_prdc(real, synthetic)(rows, columns, 4)
    for place in range(5):
        one, other = real[rows[place] > 0], synthetic[columns[place] > 0]
        assert outcome[:, place] == pytest.approx(values(prdc(one, other, neighbours=4)))


@pytest.mark.parametrize("neighbours", [0, -1, 10, 99])
def test_neighbours_that_a_set_cannot_have_are_refused(neighbours):
    with pytest.raises(MeddiffError, match=f"neighbours is {neighbours}"):
        prdc(np.eye(20), np.eye(20)[:10], neighbours=neighbours)
    with pytest.raises(MeddiffError, match=r"neighbours is 2.5"):
        prdc(np.eye(20), np.eye(20), neighbours=2.5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((9, 4), np.nan), "9 of 9 rows of synthetic"),
        (np.full((9, 4), -np.inf), "9 of 9 rows of synthetic"),
        (np.ones((9, 5)), "synthetic 5"),
        (np.ones(4), r"synthetic .*\(4,\)"),
        (np.ones((0, 4)), r"synthetic .*\(0, 4\)"),
    ],
)
def test_bad_features_are_named(bad, message):
    good = features(1, 12, 4)
    with pytest.raises(MeddiffError, match=message):
        prdc(good, bad)
    with pytest.raises(MeddiffError, match=message):
        memorisation(good, bad, good)
    with pytest.raises(MeddiffError, match=message.replace("synthetic", "unseen")):
        memorisation(good, good, bad)


def looped_memorisation(training, synthetic, unseen):
    def nearest(x):
        return np.array([min(np.sqrt(np.sum((u - v) ** 2)) for v in training) for u in x])

    distances, baseline = nearest(synthetic), nearest(unseen)
    wins = [(d < b) + (d == b) / 2 for d in distances for b in baseline]
    return distances, baseline, np.mean(wins)


def test_memorisation_equals_loops_and_the_rank_test_by_hand():
    training, synthetic, unseen = features(1, 40, 6), features(2, 30, 6), features(3, 25, 6)
    result = memorisation(training, synthetic, unseen)
    distances, baseline, closer = looped_memorisation(training, synthetic, unseen)
    np.testing.assert_allclose(result.distances, distances, rtol=1e-12)
    assert result.closer == pytest.approx(closer)
    assert result.synthetic == pytest.approx(np.median(distances))
    assert result.unseen == pytest.approx(np.median(baseline))
    n, m = len(baseline), len(distances)
    u = rankdata(np.r_[baseline, distances])[:n].sum() - n * (n + 1) / 2
    z = (u - n * m / 2 - 0.5) / np.sqrt(n * m * (n + m + 1) / 12)
    assert result.p_value == pytest.approx(norm.sf(z), rel=1e-9)


def test_copies_among_synthetic_images_are_found_and_named():
    training, unseen = features(1, 300, 20), features(2, 200, 20)
    copied = training[40:160]
    result = memorisation(training, np.r_[copied, features(3, 80, 20)], unseen)
    assert result.verdict == "copies"
    assert result.closer > 0.7
    assert result.suspects >= 120 and result.identical == 120
    np.testing.assert_array_equal(result.nearest[:120], np.arange(40, 160))
    assert not result.distances[:120].any()


def test_one_copy_is_enough():
    training, unseen = features(1, 300, 20), features(2, 400, 20)
    result = memorisation(training, np.r_[training[:1], features(3, 199, 20)], unseen)
    assert result.verdict == "copies" and result.identical == 1 and result.p_value > 0.01


def test_a_few_noisy_copies_are_reported_by_their_rank():
    """None is nearly a training image, and most images are as far as unseen ones."""
    training, unseen = features(1, 300, 20), features(2, 400, 20)
    noisy = training[:16] + features(4, 16, 20, scale=0.4)
    result = memorisation(training, np.r_[noisy, features(3, 184, 20)], unseen)
    assert result.identical == 0 and result.p_value > 0.01
    assert result.suspects >= 16 and result.suspects_p < 1e-6
    assert result.verdict == "closer than unseen images"


@pytest.mark.parametrize(("m", "k"), [(6, 3), (5, 8), (4, 250)])
def test_suspects_have_the_p_value_of_all_orders(m, k):
    """Every order of the distances is as likely: counted over orders drawn at random."""
    chance = np.random.default_rng(0)
    rank = max(1, k // 100)
    orders = np.stack([chance.permutation(m + k) for _ in range(4000)]) + 1.0
    limits = np.sort(orders[:, m:], axis=1)[:, rank - 1]
    counts = (orders[:, :m] < limits[:, None]).sum(axis=1)
    for order in orders[:40]:
        # As far as all that surrounds them.
        judged = judge_copies(*(Nearest(np.arange(len(x)), x, x) for x in (order[:m], order[m:])))
        expected = (counts >= judged.suspects).mean()
        assert judged.suspects_p == pytest.approx(expected, abs=4 * (0.25 / 4000) ** 0.5)


def test_bland_images_are_closer_but_no_copies():
    training, unseen = features(1, 300, 20), features(2, 200, 20)
    result = memorisation(training, features(3, 100, 20, scale=0.8), unseen)
    assert result.verdict == "closer than unseen images" and result.identical == 0


def test_unseen_images_that_were_seen_are_refused():
    """As under `protocol: as_published`: nothing would look copied."""
    training = features(1, 100, 5)
    with pytest.raises(MeddiffError, match="30 of 30"):
        memorisation(training, training[:50], training[:30])
    one = np.r_[training[:1], features(2, 29, 5)]
    assert memorisation(training, features(3, 40, 5), one).verdict == "no copies"


@pytest.mark.parametrize("planted", [0, 1, 3])
@pytest.mark.parametrize("near", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("k", [12, 40, 400])
def test_duplicates_among_unseen_images_hide_no_copies(planted, near, k):
    """Exact ones and near ones, of images that are copied and of others; and honest ones pass."""
    training = features(1, 300, 20)
    unseen = features(2, k, 20)
    unseen[:planted] = training[100 : 100 + planted] + features(5, planted, 20, scale=near)
    for copied in (training[:60], training[80:140] + features(4, 60, 20, scale=0.1)):
        outcome = memorisation(training, copied, unseen)
        assert (outcome.verdict, outcome.identical) == ("copies", 60)
        assert outcome.leaked == planted
    one = np.r_[training[:1], features(3, 199, 20)]
    assert memorisation(training, one, unseen).identical == 1
    assert memorisation(training, features(3, 200, 20), unseen).verdict == "no copies"


def test_duplicates_are_rarely_seen_where_there_are_none():
    counts = [
        memorisation(features(3 * s, 60, 8), features(0, 9, 8), features(3 * s + 2, 40, 8)).leaked
        for s in range(200)
    ]
    assert np.count_nonzero(counts) <= 2


def test_nearly_all_unseen_images_encoded_anew_are_refused():
    training = features(1, 100, 20)
    nearly = np.r_[training[:30] + features(2, 30, 20, scale=0.01), features(3, 4, 20)]
    with pytest.raises(MeddiffError, match="30 of 34"):
        memorisation(training, features(4, 40, 20), nearly)
    with pytest.raises(MeddiffError, match="30 of 30"):
        memorisation(training, features(4, 40, 20), nearly[:30])


def kinds(seed, alike, varied):
    """Images of which one kind lies a tenth as far apart as the other."""
    return np.r_[features(seed, alike, 20, scale=0.1, shift=1), features(seed + 1, varied, 20)]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98])
@pytest.mark.parametrize("k", [12, 50, 400])
def test_images_of_a_homogeneous_kind_are_no_copies_of_each_other(share, k):
    """Nor duplicates, however many they are, and though no unseen image is of that kind."""
    n, m = round(300 * share), round(200 * share)
    training, synthetic = kinds(1, n, 300 - n), kinds(3, m, 200 - m)
    for alike in {0, 1, round(k * share), k - 1, k}:
        outcome = memorisation(training, synthetic, kinds(5, alike, k - alike))
        assert (outcome.leaked, outcome.identical) == (0, 0)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.9])
@pytest.mark.parametrize("planted", [1, 3])
def test_duplicates_and_copies_among_two_kinds_are_seen(share, planted):
    n = round(300 * share)
    training = kinds(1, n, 300 - n)
    unseen = kinds(3, round(50 * share), 50 - round(50 * share))
    unseen[-planted:] = training[-planted:] + features(5, planted, 20, scale=0.005)
    for copied in (training[:60], training[-60:]):
        near = copied + features(6, 60, 20, scale=0.005)
        assert memorisation(training, copied, unseen).identical == 60
        outcome = memorisation(training, near, unseen)
        assert (outcome.leaked, outcome.identical, outcome.verdict) == (planted, 60, "copies")


@pytest.mark.parametrize("few", [1, 2, 4])
def test_a_kind_with_few_training_images_is_no_copy(few):
    """It is far from all else, so that the surroundings are of another kind."""
    training, synthetic, unseen = (features(seed, 200, 20) for seed in (1, 2, 3))
    for images in (training, synthetic, unseen):
        images[:few] += 40
    outcome = memorisation(training, synthetic, unseen)
    assert (outcome.leaked, outcome.identical, outcome.verdict) == (0, 0, "no copies")
    unseen[few:8] = training[few:8]
    outcome = memorisation(training, np.r_[synthetic, training[-9:]], unseen)
    assert (outcome.leaked, outcome.identical) == (8 - few, 9)


@pytest.mark.parametrize("far", [1, 2, 5])
@pytest.mark.parametrize("k", [12, 60, 400])
@pytest.mark.parametrize("planted", [0, 1, 3])
def test_outliers_make_no_duplicates_of_the_others(far, k, planted):
    training, unseen = features(1, 300, 20), features(2, k, 20)
    unseen[-far:] += np.arange(1, far + 1)[:, None] * 1e3
    unseen[:planted] = training[:planted] + features(5, planted, 20, scale=0.02)
    outcome = memorisation(training, features(3, 100, 20), unseen)
    assert (outcome.leaked, outcome.identical) == (planted, 0)


def test_an_image_several_times_in_training_is_copied_all_the_same():
    training = np.r_[features(1, 300, 20), np.repeat(features(4, 1, 20), 4, axis=0)]
    near = training[-1:] + features(5, 1, 20, scale=0.05)
    outcome = memorisation(training, np.r_[near, features(3, 99, 20)], features(2, 80, 20))
    assert (outcome.identical, outcome.verdict) == (1, "copies")


def test_surroundings_are_those_of_the_best_views():
    training, images = features(1, 30, 3), features(2, 20, 3)
    views = [images, -images, images[:, ::-1]]
    outcome = nearest_training(training, views)
    every = np.array([[np.linalg.norm(training - x, axis=1) for x in view] for view in views])
    best = np.sort(every.min(axis=0), axis=1)
    np.testing.assert_array_equal(outcome.places, every.min(axis=0).argmin(axis=1))
    np.testing.assert_allclose(outcome.distances, best[:, 0], rtol=1e-12)
    np.testing.assert_allclose(outcome.around, best[:, 4], rtol=1e-12)
    np.testing.assert_allclose(nearest_training(training[:2], views).around,
                               np.sort(every[:, :, :2].min(axis=0), axis=1)[:, 1])  # fmt: skip


def test_noisy_copies_are_copies():
    training, unseen = features(1, 200, 20), features(2, 200, 20)
    for scale, verdict in ((0.1, "copies"), (0.4, "closer than unseen images")):
        noisy = training + features(3, 200, 20, scale=scale)
        assert memorisation(training, noisy, unseen).verdict == verdict


def test_independent_draws_are_rarely_called_copies():
    """At p < 0.01, two of a hundred are to be expected at most nineteen times in twenty."""
    results = [
        memorisation(features(3 * s, 60, 8), features(3 * s + 1, 50, 8), features(3 * s + 2, 40, 8))
        for s in range(100)
    ]
    assert sum(r.verdict == "copies" for r in results) <= 4
    assert np.mean([r.closer for r in results]) == pytest.approx(0.5, abs=0.03)
    p_values = np.array([r.p_value for r in results])
    assert 0.35 < np.mean(p_values < 0.5) < 0.65


def test_images_from_elsewhere_are_no_copies():
    training, unseen = features(1, 100, 6), features(2, 100, 6)
    result = memorisation(training, features(3, 100, 6, shift=5), unseen)
    assert result.verdict == "no copies"
    assert result.closer < 0.1


@pytest.mark.parametrize("count", [1, 5, 20])
def test_equal_distances_are_no_evidence(count):
    constant = np.full((count, 3), 0.5)
    result = memorisation(constant, constant + 1, constant - 1)
    assert (result.closer, result.verdict, result.suspects) == (0.5, "no copies", 0)
    assert 0.5 <= result.p_value <= 1 and result.suspects_p == 1
    assert result.distances == pytest.approx(3**0.5)


def test_copies_far_from_zero_have_distance_zero():
    training = (features(1, 50, 30) + 1e5).astype(np.float32)
    result = memorisation(training, training[::-1], training + np.float32(0.5))
    np.testing.assert_array_equal(result.nearest, np.arange(50)[::-1])
    assert not result.distances.any()
