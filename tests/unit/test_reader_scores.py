"""Scores of readers: against closed forms, other libraries, and simulated readers."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from meddiff.reader_study.agreement import cohen_kappa, fleiss_kappa
from meddiff.reader_study.detection import correct_share, forced_choice, roc_auc, yes_no
from meddiff.reader_study.multireader import over_readers_and_cases
from meddiff.reader_study.score import reader_table


@pytest.mark.filterwarnings("ignore")
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=8, max_size=60))
def test_area_and_kappa_are_scikit_learns(pairs: list[tuple[int, bool]]) -> None:
    ratings, kind = np.array([r for r, _ in pairs], float), np.array([k for _, k in pairs])
    if min(kind.sum(), (~kind).sum()) >= 2:
        area = roc_auc(ratings[kind], ratings[~kind])
        assert area.value == pytest.approx(roc_auc_score(kind, ratings))
        assert 0 <= area.low <= area.value <= area.high <= 1
    first, second = (ratings > 3).astype(int), kind.astype(int)
    ours, theirs = cohen_kappa(first, second), cohen_kappa_score(first, second)
    assert ours == pytest.approx(theirs, nan_ok=True)


def test_fleiss_example() -> None:
    """A worked example that is often printed: 14 readers, 10 cases, 5 categories, kappa 0.210."""
    table = [(0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
             (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0),
             (0, 2, 2, 3, 7)]  # fmt: skip
    answers = np.array([np.repeat(range(5), row) for row in table]).T
    assert fleiss_kappa(answers) == pytest.approx(0.210, abs=5e-4)


def test_forced_choice_of_two_is_the_closed_form() -> None:
    for d_prime in (-1.0, 0.0, 0.5, 2.0):
        assert correct_share(d_prime, 2) == pytest.approx(ndtr(d_prime / math.sqrt(2)), abs=1e-6)
        for choices in (2, 3, 8):
            share = correct_share(d_prime, choices)
            assert forced_choice(share, choices) == pytest.approx(d_prime, abs=1e-5)
    assert correct_share(0, 4) == pytest.approx(0.25)
    ends = [correct_share(1, choices) for choices in (2, 3, 4, 5)]
    assert all(a > b for a, b in pairwise(ends))


def test_one_readers_d_prime_is_in_its_interval() -> None:
    chance = np.random.default_rng(1)
    for d_prime in (0.0, 0.7, 1.5):
        for n in (20, 60):
            inside = 0
            for _ in range(400):
                hits = chance.binomial(n, ndtr(d_prime / 2 - 0.2))
                false_alarms = chance.binomial(n, ndtr(-d_prime / 2 - 0.2))
                value, criterion = yes_no(hits, n, false_alarms, n)
                inside += (value.low <= d_prime <= value.high) + (
                    criterion.low <= 0.2 <= criterion.high
                )
            assert inside / 800 >= 0.92


def test_means_over_readers_and_cases_are_in_their_interval() -> None:
    """Readers and cases both vary: intervals of cases alone would be far too narrow."""
    chance = np.random.default_rng(2)
    inside = 0
    for _ in range(500):
        readers, cases = chance.normal(0, 0.5, (6, 1)), chance.normal(0, 1, 40)
        values = 0.3 + readers + cases + chance.normal(0, 1, (6, 40))
        interval = over_readers_and_cases(values, float(values.mean()))
        inside += interval.low <= 0.3 <= interval.high
    assert inside / 500 >= 0.92


def frames(answers: np.ndarray, target: np.ndarray) -> dict[str, pd.DataFrame]:
    """Answers of readers, (r, c), as they are read; a quarter comes again, answered alike."""
    cases = np.r_[np.arange(len(target)), np.arange(len(target) // 4)]
    repeat = np.arange(len(cases)) >= len(target)
    columns = {"trial": [f"t{n}" for n in range(len(cases))], "case": cases, "repeat": repeat * 1}
    return {
        f"r{number}": pd.DataFrame(
            columns | {"target": target[cases], "answer": own[cases], "seconds": 1.0}
        )
        for number, own in enumerate(answers)
    }


def key_of(design: str, target: np.ndarray, choices: int = 3) -> pd.DataFrame:
    shown = 1 if design == "single" else choices
    return pd.DataFrame({"design": design, "trial": np.repeat(np.arange(len(target)), shown)})


@pytest.mark.parametrize("readers", [1, 2, 3])
@pytest.mark.parametrize("pattern", ["right", "wrong", "real", "synthetic", "alternate"])
@pytest.mark.parametrize("design", ["single", "choice"])
def test_readers_who_agree_are_not_sure_of_all_other_readers_and_images(
    design: str, pattern: str, readers: int
) -> None:
    """No interval is a point: of 20 cases without an error 20 more may have one."""
    target = np.arange(20) % 2
    called = {"right": target, "wrong": 1 - target, "real": 0 * target, "synthetic": 0 * target + 1,
              "alternate": np.arange(20) // 2 % 2}[pattern]  # fmt: skip
    own = np.where(called == 1, 6, 1) if design == "single" else called + 1
    table = reader_table(frames(np.tile(own, (readers, 1)), target), key_of(design, target))
    rows = table[table["value"].notna() & table["ci_low"].notna()]
    assert {"accuracy", "d_prime"} <= set(rows.loc[rows["reader"] == "all", "metric"])
    assert (rows["ci_low"] < rows["ci_high"]).all()
    assert (rows["ci_low"] <= rows["value"]).all() and (rows["value"] <= rows["ci_high"]).all()
    if pattern == "right":
        low = rows[rows["reader"] == "all"].set_index("metric")["ci_low"]
        # Readers of one mind are right in all 20 by chance in 1 of 20 such studies, or in fewer.
        assert low["accuracy"] ** 20 < 0.05
        share = ndtr(low["d_prime"] / 2) if design == "single" else correct_share(low["d_prime"], 3)
        assert share**20 < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("one_mind", [True, False])
@pytest.mark.parametrize("d_prime", [2.5, 3.5])
def test_near_perfect_readers_lie_in_their_interval(d_prime: float, one_mind: bool) -> None:
    """Three readers of 20 images, most of whom never err; shares and areas in closed form."""
    chance = np.random.default_rng(4)
    target = np.arange(20) % 2
    ends = d_prime / 2 + np.array([-1, -0.5, 0, 0.5, 1])
    levels = [np.diff(ndtr(np.r_[-np.inf, ends - mean, np.inf])) for mean in (0, d_prime)]
    below = np.cumsum(levels[0]) - levels[0] / 2
    truth = {"accuracy": ndtr(d_prime / 2), "hit_rate": ndtr(d_prime / 2), "d_prime": d_prime,
             "false_alarm_rate": ndtr(-d_prime / 2), "roc_auc": levels[1] @ below}  # fmt: skip
    inside: dict[str, list[bool]] = {name: [] for name in truth}
    for _ in range(200):
        seen = chance.normal(size=(1 if one_mind else 3, 20)) + d_prime * target
        answers = np.broadcast_to(1 + np.searchsorted(ends, seen), (3, 20))
        table = reader_table(frames(answers, target), key_of("single", target))
        rows = table[table["reader"] == "all"].set_index("metric")
        for name, value in truth.items():
            inside[name].append(rows.at[name, "ci_low"] <= value <= rows.at[name, "ci_high"])
    assert min(map(np.mean, inside.values())) >= 0.92, {k: np.mean(v) for k, v in inside.items()}
