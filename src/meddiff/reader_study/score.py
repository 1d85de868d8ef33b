"""Tables of a reader study: per reader, over readers, per image; and iMRMC's input."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meddiff.metrics.intervals import Estimate, share_interval
from meddiff.reader_study.agreement import cohen_kappa, fleiss_kappa
from meddiff.reader_study.answers import says_synthetic
from meddiff.reader_study.detection import forced_choice, roc_auc, yes_no
from meddiff.reader_study.multireader import jackknife, over_readers_and_cases, pseudovalues

OVER_READERS = "all"
"""Stands for the reader where a number is over all of them."""

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
    signals, noises = int(synthetic.sum()), int((~synthetic).sum())
    hits, false_alarms = int((called & synthetic).sum()), int((called & ~synthetic).sum())
    d_prime, criterion = yes_no(hits, signals, false_alarms, noises)
    n = len(first)
    yield "accuracy", share_interval(hits + noises - false_alarms, n), n
    yield "hit_rate", share_interval(hits, signals), signals
    yield "false_alarm_rate", share_interval(false_alarms, noises), noises
    yield "d_prime", d_prime, n
    yield "criterion", criterion, n
    yield "roc_auc", roc_auc(ratings[synthetic].astype(float), ratings[~synthetic].astype(float)), n


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
    pair = first.to_numpy(), later.to_numpy()
    if design == "single":
        pair = says_synthetic(pair[0]).astype(int), says_synthetic(pair[1]).astype(int)
    kappa = jackknife(
        lambda places: cohen_kappa(pair[0][places], pair[1][places]), len(later), least=-1, most=1
    )
    yield "intra_reader_kappa", kappa, len(later)


def _over_readers(first: Answers, design: str, choices: int) -> Metrics:
    """Yield scores over readers; the answers of each are in the order of the questions."""
    target = next(iter(first.values()))["target"].to_numpy()
    answers = np.stack([each["answer"].to_numpy() for each in first.values()])
    n = len(target)
    called = says_synthetic(answers).astype(int) if design == "single" else answers - 1
    right = (called == target).astype(float)
    accuracy = over_readers_and_cases(right, float(right.mean()), least=0, most=1)
    yield "accuracy", accuracy, n
    if design == "single":
        yield from _single_over_readers(answers, target == 1)
    else:
        yield "d_prime", _as_d_prime(accuracy, choices), n
    if len(answers) > 1:
        kappa = jackknife(lambda places: fleiss_kappa(called[:, places]), n, least=-1, most=1)
        yield "fleiss_kappa", kappa, n


def _single_over_readers(ratings: NDArray[np.integer], synthetic: NDArray[np.bool_]) -> Metrics:
    called = says_synthetic(ratings)
    for name, kind in (("hit_rate", synthetic), ("false_alarm_rate", ~synthetic)):
        rates = called[:, kind].astype(float)
        rate = over_readers_and_cases(rates, float(rates.mean()), least=0, most=1)
        yield name, rate, int(kind.sum())

    def d_primes(places: NDArray[np.intp]) -> NDArray[np.float64]:
        kind, answers = synthetic[places], called[:, places]
        hits, false_alarms = answers[:, kind].sum(axis=1), answers[:, ~kind].sum(axis=1)
        counts = int(kind.sum()), int((~kind).sum())
        pairs = zip(hits, false_alarms, strict=True)
        return np.array([yes_no(h, counts[0], f, counts[1])[0].value for h, f in pairs])

    def areas(places: NDArray[np.intp]) -> NDArray[np.float64]:
        kind, values = synthetic[places], ratings[:, places].astype(float)
        return np.array([roc_auc(each[kind], each[~kind]).value for each in values])

    n, every = len(synthetic), np.arange(len(synthetic))
    for name, score, ends in (
        ("d_prime", d_primes, {}),
        ("roc_auc", areas, {"least": 0, "most": 1}),
    ):
        mean = float(score(every).mean())
        yield name, over_readers_and_cases(pseudovalues(score, n), mean, **ends), n


def image_table(answers: Answers, key: pd.DataFrame) -> pd.DataFrame:
    """Return how often readers called each image synthetic, repeats left out.

    Returns:
        Columns image_set, class, row, n_readers, called_synthetic (count), share, confidence (mean
        of 1 to 6, of single images), seconds (median), most often called synthetic first.
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
