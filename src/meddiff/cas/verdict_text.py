"""The verdict in words, from its table: a sentence per classifier, controls and limits."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from meddiff.cas.scoring import ACCURACY
from meddiff.cas.verdict import EXCLUDED, QUESTIONS
from meddiff.core.tables import OVER_CLASSES
from meddiff.core.text import with_interval
from meddiff.evaluation.rows import copies_by_class
from meddiff.reporting.names import name_of
from meddiff.reporting.page.sections import Conclusion

REPLACE = {
    "non-inferior": "synthetic images can replace real ones",
    "inferior": "synthetic images cannot replace real ones",
    "worse": "synthetic images are worse than real ones",
    "inconclusive": "not shown that synthetic images replace real ones",
    "no interval": "without intervals there is no answer",
}
"""What the outcome of the question `replace` means."""
ADD = {
    "better": "added to them they help",
    "worse": "added to them they harm",
    "equivalent": "added to them they change little",
    "inconclusive": "added to them, unclear",
}
"""What the outcome of the question `add` means."""
OUTCOMES = (
    "non-inferior: the difference's interval is above -margin; inferior: below -margin; better, "
    "worse: above, below 0; equivalent: within the margin; inconclusive: more test images or "
    "trainings would tell. Each interval holds alone: one in twenty misses."
)
WIDTH = 100


@dataclass(frozen=True)
class Wording:
    """What the text says of a run of the workflow; others say it otherwise.

    Attributes:
        learners: whose training images test images are compared with.
        generators: what made the synthetic images.
        margin: where the margin is set.
        repeats: where the number of trainings is set.
        encoding: where shortcuts of the files' encoding are looked for.
        doubts: further controls, in sentences.
    """

    learners: str = "a DDPM or a classifier"
    generators: str = "one generator per class"
    margin: str = "`cas.non_inferiority_margin`"
    repeats: str = "`cas.n_repeats`"
    encoding: str = "`results/audit/encoding.csv`"
    doubts: Sequence[str] = ()


def answers(table: pd.DataFrame) -> list[Conclusion]:
    """Return the answer of every classifier of the verdict's table, in its order."""
    table = table.reset_index(drop=True).fillna({"note": ""})
    return [_answer(str(name), rows) for name, rows in table.groupby("classifier", sort=False)]


def _answer(name: str, rows: pd.DataFrame) -> Conclusion:
    accuracies = rows[rows["metric"] == ACCURACY[0]]
    overall = {row["question"]: (place, row) for place, row in accuracies.to_dict("index").items()}
    _, first = next(iter(overall.values()))
    note = str(first["note"])
    if first["outcome"] == EXCLUDED:
        return Conclusion(f"{name_of(name)} gives no answer: {note}")
    doubts = [f"{note[0].upper()}{note[1:]}."] if note else []
    added = overall["add"][1]["outcome"] if "add" in overall else ""
    if added == "better":
        doubts += _costless({question: row for question, (_, row) in overall.items()})
    if "replace" not in overall:
        return Conclusion(f"{name_of(name)}: no arm of synthetic images alone", doubts=doubts)
    place, row = overall["replace"]
    return Conclusion(
        f"{name_of(name)}: {REPLACE[row['outcome']]}",
        f"accuracy {row['value']:.3f} instead of {row['baseline_value']:.3f}, {difference(row)}",
        ADD.get(added, ""),
        int(str(place)),
        [*_unshown(row["outcome"], rows), *doubts],
    )


def _unshown(outcome: str, rows: pd.DataFrame) -> list[str]:
    """Name the classes that a good outcome overall may hide."""
    classes = rows[rows["question"].eq("replace") & rows["metric"].eq("recall")]
    names = classes.loc[classes["outcome"] != "non-inferior", "class"]
    if outcome != "non-inferior" or names.empty:
        return []
    return [f"Overall: it is not shown for the recall of {', '.join(names)}."]


def _costless(overall: Mapping[str, Mapping[Any, Any]]) -> list[str]:
    """Name augmented and repeated images that may help as much as synthetic ones."""
    names = [
        overall[question]["baseline"]
        for question in ("add_augmented", "add_oversampled")
        if question in overall and overall[question]["outcome"] != "better"
    ]
    return [f"They are not shown to help more than {' or '.join(names)} images."] if names else []


def controls(
    table: pd.DataFrame,
    arms: pd.DataFrame | None,
    copies: Mapping[str, str] | None = None,
    wording: Wording | None = None,
) -> list[str]:
    """Return what was checked beside the question, in sentences.

    Args:
        arms: scores of every arm, as Table 5.3; None where there are none.
        copies: verdict of the search for copies by class; empty where there was none.
    """
    wording = wording or Wording()
    lines = []
    if len(table):
        total, shared = (int(table[name].iloc[0]) for name in ("n_test", "n_shared"))
        lines.append(
            f"{shared:,} of {total:,} test images share an image, lesion or patient with the "
            f"training images of {wording.learners}{': the test set leaks' if shared else ''}."
        )
    lines += [] if arms is None else _shuffled(arms)
    lines += [
        f"Copies of training images among the synthetic ones of {name}: {verdict}."
        for name, verdict in (copies or {}).items()
    ]
    return [*lines, *wording.doubts]


def _shuffled(arms: pd.DataFrame) -> list[str]:
    """Return what comes of shuffled labels: chance, unless labels are reached by another way."""
    rows = arms[arms["arm"].eq("shuffled") & arms["metric"].eq(ACCURACY[0])]
    classes = set(arms.loc[arms["metric"] == "recall", "class"]) - {OVER_CLASSES}
    chance = 1 / max(1, len(classes))
    return [
        f"{name_of(row['classifier'])} with shuffled labels: accuracy "
        f"{with_interval(row['value'], row['ci_low'], row['ci_high'])}, chance {chance:.2f}: "
        f"{_at_chance(row, chance)}."
        for row in rows.to_dict("records")
    ]


def words_of(tables: Mapping[str, pd.DataFrame], stamp: Mapping[str, Any]) -> dict[str, Any]:
    """Return answers, controls and limits of a run's tables by name; nothing without a verdict."""
    table = tables.get("verdict")
    if table is None:
        return {}
    arms = [tables[name] for name in ("table_5_3", "cas_hog_svm") if name in tables]
    copies = tables.get("memorisation")
    return {
        "answers": answers(table),
        "controls": controls(
            table,
            pd.concat(arms, ignore_index=True) if arms else None,
            {} if copies is None else copies_by_class(copies),
        ),
        "limits": limits(table, stamp),
    }


def _at_chance(row: Mapping[Any, Any], chance: float) -> str:
    if pd.isna(row["ci_low"]):
        return "no interval"
    within = row["ci_low"] <= chance <= row["ci_high"]
    return "as expected" if within else "not at chance, look for a bug"


def limits(
    table: pd.DataFrame, stamp: Mapping[str, Any], wording: Wording | None = None
) -> list[str]:
    """Return what the verdict's table cannot say, in sentences.

    Args:
        stamp: data and scale of the run, if it has any.
    """
    wording = wording or Wording()
    lines = [
        "Training and test images may share shortcuts: " + wording.encoding + ".",
        "The test set is balanced; a clinic's prevalence, thresholds and costs differ.",
    ]
    if len(table):
        repeats, groups = (int(table[name].min()) for name in ("n_repeats", "n_groups"))
        trainings = f"{repeats} trainings per classifier" if repeats > 1 else "no repeated training"
        lines.insert(
            0,
            f"One data set ({stamp.get('data')}) and {wording.generators}. Intervals cover "
            f"{groups:,} independent test images or patients and {trainings} ({wording.repeats}).",
        )
    if stamp.get("data") == "phantom":
        lines.append("No patients: phantom images are drawn by a program.")
    if (scale := stamp.get("scale")) in ("demo", "smoke"):
        lines.append(f"Nets of scale {scale} are small and trained briefly.")
    return lines


def verdict_text(
    table: pd.DataFrame, arms: pd.DataFrame, stamp: Mapping[str, Any], wording: Wording
) -> str:
    """Return the verdict as text for a terminal; arguments as of `controls` and `limits`."""
    lines = ["Are the synthetic images good enough to train on?"]
    if table.empty:
        lines.append("No answer: there are no arms to compare.")
    for answer in answers(table):
        lines += [answer.sentence, *(f"  {doubt}" for doubt in answer.doubts)]
    lines += ["", "Differences of accuracies, and of the recall of each class [95 % intervals]:"]
    for _, rows in table.groupby(["classifier", "question"], sort=False):
        name, question = rows[["classifier", "question"]].iloc[0]
        cells = [
            f"{'' if row['metric'] == ACCURACY[0] else row['class'] + ' '}{difference(row)} "
            f"{row['outcome']}"
            for row in rows.to_dict("records")
        ]
        lines.append(f"  {name_of(name)}, {QUESTIONS[question].text}: {'; '.join(cells)}")
    for title, sentences in (
        ("Controls:", controls(table, arms, wording=wording)),
        ("Limits:", limits(table, stamp, wording)),
    ):
        lines += ["", title, *(f"  {line}" for line in sentences)]
    margin = f"The margin is {table['margin'].iloc[0]:g} ({wording.margin}). " if len(table) else ""
    lines += ["", margin + OUTCOMES]
    return "\n".join(_filled(line) for line in lines) + "\n"


def _filled(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="    ", break_long_words=False)


def difference(row: Mapping[Any, Any]) -> str:
    """Return a row's difference with its interval, signed, as text."""
    return with_interval(row["difference"], row["ci_low"], row["ci_high"], "+.3f")
