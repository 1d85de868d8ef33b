"""Training sets of the experiment."""

from pathlib import Path

import numpy as np
import pytest

from meddiff.cas.arms import Pool, build_arm, build_pool, dose_arm
from meddiff.cas.images import load_pool
from meddiff.cas.settings import REAL_ARMS

KEY = (0, "cas", 0)


@pytest.fixture(scope="module")
def pool() -> Pool:
    chance = np.random.default_rng(0)
    draw = lambda n: chance.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)  # noqa: E731
    real = [draw(20), draw(23)]
    groups = [np.arange(20) // 2, np.arange(100, 123)]
    return build_pool(real, groups, [draw(30), draw(32)], augmented=True, seed=0)


def counts(pool, arm):
    """Images by kind and class."""
    kinds, labels = pool.kind[arm.rows], pool.labels[arm.rows]
    pairs = sorted(set(zip(kinds, labels, strict=True)))
    return {pair: int(((kinds == pair[0]) & (labels == pair[1])).sum()) for pair in pairs}


@pytest.mark.parametrize(("most", "numbers"), [(None, [1, 2, 3, 4, 5]), (4, [1, 2, 3, 4])])
def test_a_pool_takes_the_first_synthetic_images_over_all_parts(tmp_path, most, numbers):
    def save(name: str, values: list[int]) -> Path:
        images = np.repeat(np.array(values, dtype=np.uint8), 64).reshape(-1, 8, 8, 1)
        np.save(tmp_path / name, images)
        return tmp_path / name

    real, rows = save("real.npy", [9]), tmp_path / "rows.csv"
    rows.write_text("id,group\nx,x\n")
    parts = [save("synthetic.npy", [1, 2, 3]), save("more.npy", [4, 5])]
    pool = load_pool([real] * 2, [rows] * 2, *([part] * 2 for part in parts), max_synthetic=most)
    for label in (0, 1):
        assert pool.images[pool.rows("synthetic", label), 0, 0, 0].tolist() == numbers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("real", {("real", 0): 20, ("real", 1): 20}),
        ("synthetic", {("synthetic", 0): 30, ("synthetic", 1): 30}),
        ("matched", {("real", 0): 20, ("real", 1): 20}),
        ("mixed", {("real", 0): 20, ("real", 1): 20, ("synthetic", 0): 30, ("synthetic", 1): 30}),
        (
            "augmented",
            {("augmented", 0): 30, ("augmented", 1): 30, ("real", 0): 20, ("real", 1): 20},
        ),
        ("oversampled", {("real", 0): 50, ("real", 1): 50}),
        ("shuffled", {("real", 0): 20, ("real", 1): 20}),
    ],
)
def test_arms_hold_as_many_images_of_each_class(pool, name, expected):
    arm = build_arm(pool, name, *KEY)
    assert counts(pool, arm) == expected
    assert len(arm.labels) == len(arm.rows)
    if name != "shuffled":
        assert (arm.labels == pool.labels[arm.rows]).all()


@pytest.mark.parametrize("name", REAL_ARMS)
def test_real_arms_need_no_synthetic_images(pool, name):
    real = [pool.images[pool.rows("real", label)] for label in range(2)]
    groups = [pool.group[pool.rows("real", label)] for label in range(2)]
    alone = build_pool(real, groups, [])
    arm, beside = build_arm(alone, name, *KEY), build_arm(pool, name, *KEY)
    assert (alone.images[arm.rows] == pool.images[beside.rows]).all()
    assert (arm.labels == beside.labels).all() and arm.n_synthetic == 0


def test_oversampled_repeats_every_image_as_often(pool):
    _, times = np.unique(build_arm(pool, "oversampled", *KEY).rows, return_counts=True)
    assert set(times) == {2, 3}


def test_shuffled_labels_are_the_same_ones_elsewhere(pool):
    arm, other = (build_arm(pool, "shuffled", 0, "cas", n) for n in (0, 1))
    assert sorted(arm.labels) == sorted(pool.labels[arm.rows])
    assert 0.2 < (arm.labels == pool.labels[arm.rows]).mean() < 0.8
    assert (arm.labels != other.labels).any()
    assert (arm.labels == build_arm(pool, "shuffled", *KEY).labels).all()


def test_groups_know_what_belongs_together(pool):
    real = pool.kind == "real"
    assert len(np.unique(pool.group[real])) == 10 + 20
    assert set(pool.group[pool.kind == "augmented"]) <= set(pool.group[real])
    alone = pool.group[pool.kind == "synthetic"]
    assert len(np.unique(alone)) == 60 and not set(alone) & set(pool.group[real])


def test_augmented_images_are_changed_ones(pool):
    images = {image.tobytes() for image in pool.images[pool.kind == "real"]}
    changed = [image.tobytes() for image in pool.images[pool.kind == "augmented"]]
    assert len(set(changed)) == 60 and not images & set(changed)


def test_doses_lie_in_one_another(pool):
    cells = {
        (fraction, ratio): dose_arm(pool, fraction, ratio, 0, "dose", 0)
        for fraction in (0.1, 0.5, 1.0)
        for ratio in (0, 1, 1.5)
    }
    assert (cells[0.1, 1].n_real, cells[0.1, 1].n_synthetic) == (4, 4)
    assert (cells[1.0, 1.5].n_real, cells[1.0, 1.5].n_synthetic) == (40, 60)
    assert set(cells[0.1, 1.5].rows) < set(cells[0.5, 1.5].rows) < set(cells[1.0, 1.5].rows)
    assert set(cells[0.5, 0].rows) < set(cells[0.5, 1].rows)
    other = dose_arm(pool, 0.5, 1, 0, "dose", 1)
    assert set(other.rows) != set(cells[0.5, 1].rows)


def test_a_dose_without_enough_synthetic_images_is_left_out(pool):
    assert dose_arm(pool, 1.0, 2, *KEY) is None
    assert dose_arm(pool, 0.01, 0, *KEY).n_real == 2


def test_matched_is_as_many_real_images_as_there_are_synthetic_ones(pool):
    few = build_pool(
        [pool.images[pool.rows("real", label)] for label in (0, 1)],
        [pool.group[pool.rows("real", label)] for label in (0, 1)],
        [pool.images[pool.rows("synthetic", label)][:7] for label in (0, 1)],
    )
    arm, other = (build_arm(few, "matched", 0, "cas", n) for n in (0, 1))
    assert counts(few, arm) == {("real", 0): 7, ("real", 1): 7}
    assert len(set(arm.rows)) == 14 and set(arm.rows) != set(other.rows)
