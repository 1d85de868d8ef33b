"""The answer as text."""

import textwrap

from meddiff.assessment.evaluate import Evaluation

MARKS = {"answer": "", "problem": "  problem: ", "good": "  good: ", "doubt": "  doubt: "}
WIDTH = 100


def as_answer(evaluation: Evaluation) -> str:
    """Return the answer, what it rests on, and the verdict of the classifiers, as text."""
    lines = [
        textwrap.fill(
            MARKS[each.kind] + each.text,
            WIDTH,
            subsequent_indent="    " if MARKS[each.kind] else "",
            break_long_words=False,
        )
        for each in evaluation.findings
    ]
    if evaluation.training is not None:
        lines += ["", evaluation.training.text]
    return "\n".join([*lines, ""])
