"""A table made again beside the shared one: by how much numbers differ, kind by kind."""

import math

import pandas as pd
import pytest

from meddiff.workflow.sharing.compare import compare


def table(**changed: float) -> pd.DataFrame:
    values = {"ssim": 0.5, "fid": 20.0, **changed}
    return pd.DataFrame(
        {
            "seed": 0,
            "class": "benign",
            "image_set": "synthetic",
            "metric": list(values),
            "extractor": ["" if name == "ssim" else "unet" for name in values],
            "value": list(values.values()),
            "n_real": 10,
        }
    )


def compared(theirs: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    return compare(theirs, ours).set_index("number")


def test_equal_tables_differ_by_nothing():
    difference = compared(table(), table())
    assert set(difference.index) == {"ssim value", "fid value"}
    assert (difference["same"] == difference["cells"]).all() and (difference["largest"] == 0).all()


def test_a_difference_is_relative_and_of_its_kind():
    difference = compared(table(), table(fid=20.2))
    assert difference.loc["fid value", "largest"] == pytest.approx(0.2 / 20.2)
    assert difference.loc["fid value", "same"] == 0 and difference.loc["ssim value", "same"] == 1


def test_what_one_of_the_two_lacks_differs_by_infinity():
    for other in (table(fid=math.nan), table().iloc[:1]):
        assert compared(table(), other).loc["fid value", "largest"] == math.inf
    assert compared(table(), table(kid=1.0)).loc["kid value", "largest"] == math.inf


def test_rows_that_speak_of_the_same_are_distinguished_by_their_order():
    """A curve of reliability has several bins with as many images."""
    curve = pd.DataFrame({"class": "a", "n_images": 3, "predicted": [0.2, 0.5, 0.9]})
    difference = compared(curve, curve)
    assert difference.loc["predicted", ["cells", "same"]].tolist() == [3, 3]
    assert compared(curve, curve.assign(predicted=[0.2, 0.6, 0.9])).loc["predicted", "same"] == 2


def test_an_empty_cell_of_both_is_no_difference():
    empty = table(fid=math.nan)
    assert "fid value" not in compared(empty, empty).index


def test_other_counts_of_images_are_reported():
    difference = compared(table(), table().assign(n_real=9))
    assert difference.loc["fid n_real", "largest"] == pytest.approx(0.1)


def history(*losses: float) -> pd.DataFrame:
    """A table of which no column says what a row speaks of."""
    steps = range(1, len(losses) + 1)
    return pd.DataFrame(
        {"step": steps, "loss": losses, "note": "x"}, columns=["step", "loss", "note"]
    )


def test_tables_without_key_columns_are_compared_row_by_row():
    difference = compared(history(1.0, 0.5, 0.25), history(1.0, 0.4, 0.25))
    assert list(difference.index) == ["step", "loss"]
    assert difference.loc["step", ["cells", "same", "median", "largest"]].tolist() == [3, 3, 0, 0]
    assert difference.loc["loss", ["cells", "same", "median"]].tolist() == [3, 2, 0]
    assert difference.loc["loss", "largest"] == pytest.approx(0.2)


def test_rows_count_in_their_order_and_whatever_their_index():
    theirs = history(1.0, 2.0, 4.0)
    assert compared(theirs, theirs[::-1].reset_index(drop=True)).loc["loss", "same"] == 1
    other = history(9.0, 1.0, 2.0, 4.0).iloc[1:].assign(step=[1, 2, 3])
    assert (compared(theirs, other.reset_index(drop=True))["largest"] == 0).all()


def test_a_row_that_one_of_the_two_lacks_differs_by_infinity():
    difference = compared(history(1.0, 0.5), history(1.0))
    assert difference.loc["loss", ["cells", "same"]].tolist() == [2, 1]
    assert difference.loc["loss", "largest"] == math.inf
    assert compared(history(), history()).empty
