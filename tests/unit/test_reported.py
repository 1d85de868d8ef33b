"""Published numbers beside those of runs."""

from pathlib import Path

import pandas as pd
import pytest

from conftest import ROOT
from meddiff.core.errors import MeddiffError
from meddiff.reporting.reported import ReportedResult, comparison, read_reported

STAMP = {"data": "phantom", "scale": "demo", "protocol": "leak_free", "seed": 0}


def test_the_studys_numbers_are_consistent() -> None:
    """F1 is the harmonic mean of precision and recall, to the digits printed."""
    rows = read_reported(ROOT / "config/reported.yaml")
    scores = [row.values for row in rows if "f1" in row.values]
    arms = {row.row["arm"] for row in rows if row.table == "table_5_3"}
    for arm in arms:
        of_arm = [r for r in rows if r.table == "table_5_3" and r.row["arm"] == arm]
        scores.append({row.row["metric"]: row.values["value"] for row in of_arm})
    assert len(scores) == 5
    for entry in scores:
        mean = 2 * entry["precision"] * entry["recall"] / (entry["precision"] + entry["recall"])
        assert entry["f1"] == pytest.approx(mean, abs=0.01)
    assert len({(row.table, *row.row.values()) for row in rows}) == len(rows)


def test_every_run_stands_beside_the_number() -> None:
    rows = [
        ReportedResult(table="t", row={"class": "a", "metric": "fid"}, values={"value": 2.0}),
        ReportedResult(table="u", row={"arm": "real"}, values={"f1": 0.5}),
        ReportedResult(table="none", row={"x": "y"}, values={"value": 1.0, "std": 0.1}),
    ]
    cell = {"class": "a", "metric": "fid", "value": 3.0, "ci_low": 2.5, "ci_high": 3.5,
            "note": "random weights"}  # fmt: skip
    tables = [
        ("t", "this run", pd.DataFrame([STAMP | cell, STAMP | cell | {"class": "b"}])),
        ("t", "thesis", pd.DataFrame([STAMP | cell | {"scale": "study", "value": 4.0}])),
        (
            "u",
            "this run",
            pd.DataFrame([STAMP | {"arm": "real", "f1": f} for f in (0.4, 0.6)]),
        ),
    ]
    compared = comparison(rows, tables)
    first = compared[compared["table"] == "t"]
    assert first["run"].tolist() == ["this run", "thesis"]
    assert first["value"].tolist() == [3.0, 4.0] and first["scale"].tolist() == ["demo", "study"]
    assert first["ci_low"].tolist() == [2.5] * 2 and (first["reported"] == 2.0).all()
    assert first["note"].tolist() == ["random weights"] * 2
    assert compared.loc[compared["table"] == "u", "value"].tolist() == pytest.approx([0.5])
    alone = compared[compared["table"] == "none"]
    assert alone["column"].tolist() == ["value", "std"] and alone["run"].isna().all()


def test_a_row_without_subset_is_of_all_images() -> None:
    values = {None: 0.5, "black_background": 0.25}
    cells = [{"metric": "ssim", "subset": subset, "value": values[subset]} for subset in values]
    rows = pd.DataFrame([STAMP | cell for cell in cells])
    row = ReportedResult(table="t", row={"metric": "ssim"}, values={"value": 0.4})
    dark = row.model_copy(update={"row": {"metric": "ssim", "subset": "black_background"}})
    compared = comparison([row, dark], [("t", "this run", rows)])
    assert compared["value"].tolist() == [0.5, 0.25]


@pytest.mark.parametrize("text", ["- {table: t}", "just words", "[", "- {table: t, row: {}, x: 1}"])
def test_another_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(MeddiffError) as error:
        read_reported(tmp_path / "p.yaml")
    assert "p.yaml" in str(error.value) and "\n" not in str(error.value)
