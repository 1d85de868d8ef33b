"""Tables of a reader study: per reader, over readers, per image; and iMRMC's input."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meddiff.metrics.intervals import Estimate, share_interval
from meddiff.reader_study.agreement import cohen_kappa, fleiss_kappa
from meddiff.reader_study.answers import CONFIDENCE, OVER_READERS, says_synthetic
from meddiff.reader_study.detection import d_primes, forced_choice, roc_auc, yes_no
from meddiff.reader_study.multireader import (
    PLUS_FOUR,
    around,
    kappa_interval,
    likeness,
    over_readers_and_cases,
    pseudovalues,
)

Answers = Mapping[str, pd.DataFrame]
"""Of `meddiff.reader_study.answers.read_answers`."""
Metrics = Iterator[tuple[str, Estimate, int]]


def reader_table(answers: Answers, key: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of each reader and over readers.

    Of single images: `accuracy`, `hit_rate` and `false_alarm_rate` (exact intervals), `d_prime`,
    `criterion`, `roc_auc`; of other designs `accuracy` and `d_prime`. `intra_reader_kappa` is
    Cohen's, of first and second answers to repeated questions; `fleiss_kappa` is over readers.
    Repeats count for nothing else. Over readers, intervals hold for other readers and images alike.

    Returns:
        Columns reader, design, metric, value, ci_low, ci_high, n_trials, seconds (median per
        question).
    """
    design, choices = str(key["design"].iloc[0]), len(key) // key["trial"].nunique()
    firsts = {name: each[each["repeat"] == 0] for name, each in answers.items()}
    scores: dict[str, list[tuple[str, Estimate, int]]] = {}
    for reader, first in firsts.items():
        own = _single(first) if design == "single" else _choices(first, choices)
        scores[reader] = [*own, *_repeated(answers[reader], design)]
    ordered = {reader: first.sort_values("case") for reader, first in firsts.items()}
    scores[OVER_READERS] = [*_over_readers(ordered, design, choices)]
    firsts[OVER_READERS] = pd.concat(ordered.values())
    return pd.DataFrame(
        {"reader": reader, "design": design, "metric": metric, **value.columns(), "n_trials": n,
         "seconds": float(firsts[reader]["seconds"].median())}
        for reader, own in scores.items()
        for metric, value, n in own
    )  # fmt: skip


def _single(first: pd.DataFrame) -> Metrics:
    """Yield the scores of one reader's confidences."""
    synthetic = first["target"].to_numpy() == 1
    ratings = first["answer"].to_numpy()
    called = says_synthetic(ratings)
    d_prime, criterion = _detected(called, synthetic)
    n = len(first)
    yield "accuracy", share_interval(int((called == synthetic).sum()), n), n
    for name, kind in (("hit_rate", synthetic), ("false_alarm_rate", ~synthetic)):
        yield name, share_interval(int(called[kind].sum()), int(kind.sum())), int(kind.sum())
    yield "d_prime", d_prime, n
    yield "criterion", criterion, n
    yield "roc_auc", roc_auc(ratings[synthetic].astype(float), ratings[~synthetic].astype(float)), n


def _detected(called: NDArray[np.bool_], synthetic: NDArray[np.bool_]) -> tuple[Estimate, Estimate]:
    """Return one reader's d' and criterion."""
    hits, false_alarms = int((called & synthetic).sum()), int((called & ~synthetic).sum())
    return yes_no(hits, int(synthetic.sum()), false_alarms, int((~synthetic).sum()))


def _choices(first: pd.DataFrame, choices: int) -> Metrics:
    """Yield the scores of one reader's choices."""
    right = share_interval(int((first["answer"] - 1 == first["target"]).sum()), len(first))
    yield "accuracy", right, len(first)
    yield "d_prime", _as_d_prime(right, choices), len(first)


def _as_d_prime(right: Estimate, choices: int) -> Estimate:
    value, low, high = (
        forced_choice(each, choices) for each in (right.value, right.low, right.high)
    )
    return Estimate(value, low, high, np.nan, right.level)


def _repeated(of_reader: pd.DataFrame, design: str) -> Metrics:
    """Yield a reader's agreement with themselves, if questions came twice."""
    later = of_reader[of_reader["repeat"] == 1].set_index("case")["answer"]
    if later.empty:
        return
    first = of_reader[of_reader["repeat"] == 0].set_index("case")["answer"][later.index]
    pair = _places(np.stack([first, later]), design)
    yield "intra_reader_kappa", kappa_interval(lambda both: cohen_kappa(*both), pair), len(later)


def _over_readers(first: Answers, design: str, choices: int) -> Metrics:
    """Yield scores over readers; the answers of each are in the order of the questions."""
    target = next(iter(first.values()))["target"].to_numpy()
    answers = np.stack([each["answer"].to_numpy() for each in first.values()])
    n = len(target)
    called = _places(answers, design)
    accuracy = _share(called == target, len(PLUS_FOUR[0]))
    yield "accuracy", accuracy, n
    if design == "single":
        yield from _single_over_readers(answers, target == 1)
    else:
        yield "d_prime", _as_d_prime(accuracy, choices), n
    if len(answers) > 1:
        yield "fleiss_kappa", kappa_interval(fleiss_kappa, called), n


def _places(answers: NDArray[np.integer], design: str) -> NDArray[np.integer]:
    """Return answers as a trial's `target` has them."""
    return says_synthetic(answers).astype(int) if design == "single" else answers - 1


def _share(true: NDArray[np.bool_], more: int) -> Estimate:
    """Return the share of true answers, (readers, cases), with the interval of `more` cases more.

    Half of those are true.
    """
    half = np.tile(np.arange(more) % 2, (len(true), 1))
    values = np.concatenate([true, half], axis=1).astype(float)
    interval = over_readers_and_cases(values, float(values.mean()), least=0, most=1)
    return around(float(true.mean()), interval)


def _single_over_readers(ratings: NDArray[np.integer], synthetic: NDArray[np.bool_]) -> Metrics:
    for name, kind in (("hit_rate", synthetic), ("false_alarm_rate", ~synthetic)):
        yield name, _share(says_synthetic(ratings[:, kind]), 2), int(kind.sum())
    n = len(synthetic)
    extra = np.tile(np.where(PLUS_FOUR[0], CONFIDENCE, 1), (len(ratings), 1))
    more, kinds = np.concatenate([ratings, extra], axis=1), np.append(synthetic, PLUS_FOUR[1] == 1)
    called = says_synthetic(more)

    def areas(places: NDArray[np.intp]) -> NDArray[np.float64]:
        kind, values = kinds[places], more[:, places].astype(float)
        return np.array([roc_auc(each[kind], each[~kind]).value for each in values])

    values = pseudovalues(lambda places: d_primes(called[:, places], kinds[places]), len(kinds))
    mean = float(d_primes(called[:, :n], synthetic).mean())
    # Readers who agree on every image say no more than one of them says alone.
    alone = float(np.mean([_detected(own, synthetic)[0].error ** 2 for own in called[:, :n]]))
    shared = likeness((called == kinds).astype(float))
    least = alone * (shared + (1 - shared) / len(ratings))
    yield "d_prime", over_readers_and_cases(values, mean, least_variance=least), n
    values = pseudovalues(areas, len(kinds))
    every = np.arange(len(kinds))
    interval = over_readers_and_cases(values, float(areas(every).mean()), least=0, most=1)
    yield "roc_auc", around(float(areas(every[:n]).mean()), interval), n


def image_table(answers: Answers, key: pd.DataFrame) -> pd.DataFrame:
    """Return how often readers called each image synthetic, repeats left out.

    Returns:
        Columns image_set, class, row, image (its name), n_readers, called_synthetic (count), share,
        confidence (mean of 1 to 6, of single images), seconds (median), most often called synthetic
        first.
    """
    shown = key[key["repeat"] == 0]
    single = shown["design"].iloc[0] == "single"
    every = pd.concat(answers.values())
    rows = []
    for image in shown.itertuples():
        judged = every.loc[every["trial"] == image.trial]
        answer = judged["answer"].to_numpy()
        called = says_synthetic(answer) if single else answer - 1 == image.place
        rows.append(
            {
                "image_set": image.image_set,
                "class": key.at[image.Index, "class"],
                "row": image.row,
                "image": image.image,
                "n_readers": len(judged),
                "called_synthetic": int(called.sum()),
                "share": float(called.mean()),
                "confidence": float(answer.mean()) if single else np.nan,
                "seconds": float(judged["seconds"].median()),
            }
        )
    return pd.DataFrame(rows).sort_values("share", ascending=False, kind="stable")


def imrmc_input(answers: Answers, key: pd.DataFrame) -> str | None:
    """Return ratings as iMRMC's input file, or None where images were not rated singly.

    Readers and cases are numbers from 1, in the order of the answers and of the questions, as other
    programs that read the format need. Truth is reader -1, modality 0: 1 for synthetic images.
    """
    if key["design"].iloc[0] != "single":
        return None
    first = [each[each["repeat"] == 0].sort_values("case") for each in answers.values()]
    target = first[0]["target"].tolist()
    lines = ["Real (0) or synthetic (1)", f"N0: {target.count(0)}", f"N1: {target.count(1)}",
             f"NR: {len(first)}", "NM: 1", "BEGIN DATA:"]  # fmt: skip
    lines += [f"-1,{case},0,{truth}" for case, truth in enumerate(target, 1)]
    lines += [
        f"{reader},{case},1,{rating}"
        for reader, of_reader in enumerate(first, 1)
        for case, rating in enumerate(of_reader["answer"], 1)
    ]
    return "\n".join(lines) + "\n"
