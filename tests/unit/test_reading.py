"""The project's own tables, read back: a name stays a name, whatever it looks like."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conftest import ROOT
from meddiff.cas.tables import arms_table, count_shared, read_runs, reliability_table, score_arms
from meddiff.cas.verdict import Evidence, verdict_table
from meddiff.cas.verdict_text import Wording, controls, verdict_text
from meddiff.core.errors import MeddiffError
from meddiff.core.files import write_csv
from meddiff.core.tables import TEXT, read_csv, read_part, write_metrics, write_table
from meddiff.evaluation.distances import distance_matrix, distance_rows
from meddiff.evaluation.similarity import MeasuredPairs, similarity_rows
from meddiff.reporting.extractor_quality import extractor_quality
from meddiff.reporting.figures.matrices import heat_map
from meddiff.reporting.image_quality import image_quality
from meddiff.reporting.show import show
from meddiff.workflow.config import load_config
from meddiff.workflow.sharing.compare import compare

STAMP = {"data": "1e3", "scale": "NA", "protocol": "leak_free", "seed": 0}
DRAWN = {"n_resamples": 4, "seed": 0}
TRAPS = ["0", "1", "01", "1e3", "NA", "None", "nan", "null", "NULL", "n-a", "True", "False", "true",
         "inf", "-inf", "-1", "1_000", "0x10", "yes", "no", "2020-01-01", "class", "images", "id",
         "1e400", "-nan", "N-A", "_"]  # fmt: skip


def accepted(names: list[str]) -> bool:
    folder = {"images": "i", "table": "t.csv"}
    try:
        load_config({"data": {"source": "folder", "folder": folder, "classes": names}})
    except MeddiffError:
        return False
    return True


NAMES = st.lists(
    st.sampled_from(TRAPS) | st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True),
    min_size=2,
    max_size=4,
    unique=True,
).filter(accepted)


def predictions(classes: list[str]) -> pd.DataFrame:
    """Ten images a class, of which the last two are called the next class."""
    k, each = len(classes), 10
    labels = np.repeat(np.arange(k), each)
    wrong = np.tile(np.arange(each) >= each - 2, k)
    predicted = np.where(wrong, (labels + 1) % k, labels)
    p = np.where(np.eye(k, dtype=bool)[predicted], 0.8, 0.2 / (k - 1))
    names = np.array(classes)
    # Patients and images have numbers, some of them with zeros in front.
    return pd.DataFrame(
        {
            "id": [f"{n:03d}" for n in range(k * each)],
            "group": [f"{n // 2}" for n in range(k * each)],
            "label": names[labels],
            "predicted": names[predicted],
            **{f"p_{name}": p[:, place] for place, name in enumerate(classes)},
            "n_real": 5,
        }
    )


def everything(classes: list[str], folder) -> dict[str, pd.DataFrame | str]:
    """Every table that speaks of classes, through files as in the workflow."""
    frame = predictions(classes)
    write_csv(frame, folder / "net.csv")
    runs = [
        frame.assign(classifier="skinlesnet", arm=arm, repetition=r, set=held_out, n_images=20,
                    n_synthetic=n, steps=3, note="")
        for arm, n in (("real", 0), ("synthetic", 5)) for r in (0, 1)
        for held_out in ("validation", "test")
    ]  # fmt: skip
    write_csv(pd.concat(runs), folder / "cas.csv")
    chance = np.random.default_rng(0)
    features = {name: chance.normal(size=(12, 3)) for name in classes}
    write_csv(distance_rows("net", features, {"synthetic": features}, **DRAWN), folder / "d.csv")
    parts = ["d.csv"]
    for number, name in enumerate(classes):
        pairs = MeasuredPairs({"ssim": np.array([0.1, 0.2, 0.4])}, 3, 64)
        rows = similarity_rows(name, "synthetic", pairs, **DRAWN)
        write_csv(rows, folder / f"{number}.csv")
        parts.append(f"{number}.csv")
    sets = {("test", name): features[name] for name in classes}
    scored = score_arms(read_runs([folder / "cas.csv"]), classes, specificity=0.9, **DRAWN)
    tables = {
        "table_5_1": extractor_quality(
            {"net": read_part(folder / "net.csv")}, None, classes, {}, **DRAWN
        ),
        "table_5_2": image_quality([read_part(folder / part) for part in parts], "test", {}),
        "table_5_3": arms_table(scored),
        "reliability": reliability_table(read_runs([folder / "cas.csv"]), classes),
        "matrix": distance_matrix(sets, "fid", most=12, **DRAWN),
        "copies": pd.DataFrame({"class": classes, "verdict": "none found"}),
    }
    for name, table in tables.items():
        write_table(table, folder / f"{name}.csv", STAMP)
        write_metrics(table, folder / f"{name}.json")
        assert (compare(*[read_csv(folder / f"{name}.csv")] * 2)["largest"] == 0).all()
    copies = read_csv(folder / "copies.csv").set_index("class")["verdict"]
    test = read_runs([folder / "cas.csv"]).drop_duplicates("id")
    images = test["label"].value_counts().to_dict()
    read: dict[str, pd.DataFrame | str] = {
        name: read_csv(folder / f"{name}.csv").drop(columns="source_file", errors="ignore")
        for name in tables
    }
    evidence = Evidence(0.05, images, test["group"].nunique(), 0)
    verdict = verdict_table(scored, evidence)
    write_table(verdict, folder / "verdict.csv", STAMP)
    again = read_csv(folder / "verdict.csv")
    arms = read["table_5_3"]
    read["verdict"] = verdict_text(again, arms, STAMP, Wording())
    read["controls"] = "\n".join(controls(again, arms, dict(copies)))
    read["show"] = show(folder / "table_5_2.csv")
    return read


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same of classes `c0` and so on, by their number."""
    return cache(lambda k: everything([f"c{n}" for n in range(k)], tmp_path_factory.mktemp("p")))


@example(classes=["0", "1"])
@example(classes=["NA", "1e3", "True"])
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(classes=NAMES)
def test_classes_of_any_name_have_the_tables_of_plain_ones(classes, plain, tmp_path_factory):
    ours = everything(classes, tmp_path_factory.mktemp("ours"))
    back = {name: f"c{number}" for number, name in enumerate(classes)}
    for name, expected in plain(len(classes)).items():
        read = ours[name]
        if isinstance(expected, pd.DataFrame):
            for column in ("class", "class_a", "class_b"):
                if column in read:
                    named = read[column].isin([*classes, "mean", "all", "lesion"])
                    assert (named | read[column].isna()).all()
                    read[column] = read[column].map(lambda one: back.get(one, one))
            # Table 5.2 stands in the order of the names.
            order = [c for c in ("class", "image_set", "metric", "extractor") if c in read]
            if name == "table_5_2":
                read, expected = (t.sort_values(order).reset_index(drop=True)
                                   for t in (read, expected))  # fmt: skip
            pd.testing.assert_frame_equal(read, expected)
        else:
            assert all(one in read for one in classes)
            assert len(read.splitlines()) == len(expected.splitlines())
    confusion = ours["table_5_1"].at[0, "confusion"]
    k = len(classes)
    rows = [[8 if i == j else 2 if j == (i + 1) % k else 0 for j in range(k)] for i in range(k)]
    assert confusion == " / ".join(" ".join(map(str, row)) for row in rows)


def test_text_columns_hold_text_and_only_an_empty_cell_is_missing(tmp_path):
    table = pd.DataFrame({name: ["NA", "1e3", "007", "True", None] for name in sorted(TEXT)})
    write_csv(table.assign(value=[1, None, 2, 3, 4], n=5), tmp_path / "t.csv")
    read = read_csv(tmp_path / "t.csv")
    for name in TEXT:
        assert read[name].tolist()[:4] == ["NA", "1e3", "007", "True"]
        assert read[name].isna().tolist() == [False] * 4 + [True]
    assert read["value"].dtype == float and read["value"].isna().sum() == 1
    assert read["n"].dtype == int


@pytest.mark.parametrize(
    "bytes_", [b"", b"id,label\n\x94,a\n", b'id,label\n"a\n', b"a,b\n1,2,3\n4\n5,6,7,8\n"]
)
def test_a_damaged_table_is_one_line_with_its_name(tmp_path, bytes_):
    path = tmp_path / "damaged.csv"
    path.write_bytes(bytes_)
    with pytest.raises(MeddiffError, match=r"damaged\.csv") as error:
        read_csv(path)
    assert len(str(error.value).splitlines()) == 1


def test_every_column_of_text_is_named(tmp_path):
    """A column that `read_csv` does not know would be guessed at."""
    everything(["benign", "malignant"], tmp_path)
    for path in tmp_path.glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for name in set(table) - TEXT:
            pd.to_numeric(table.loc[table[name] != "", name])


def test_images_whose_ids_are_numbers_keep_them(tmp_path):
    rows = pd.DataFrame({"id": ["001", "NA"], "group": ["1", "01"], "other": ["x", "y"]})
    write_csv(rows, tmp_path / "rows.csv")
    assert read_csv(tmp_path / "rows.csv", ["id", "group"]).to_dict("list") == {
        "id": ["001", "NA"],
        "group": ["1", "01"],
    }
    assert count_shared(["1", "1", "2"], [tmp_path / "rows.csv"]) == 2


def test_a_heat_map_of_classes_that_look_like_numbers(tmp_path):
    sets = {("test", name): np.random.default_rng(0).normal(size=(8, 2)) for name in ("0", "NA")}
    write_table(distance_matrix(sets, "fid", most=8, **DRAWN), tmp_path / "fid.csv", STAMP)
    figure = heat_map(read_csv(tmp_path / "fid.csv"), "fid_net")
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert labels == ["test\n0", "test\nNA"]


@pytest.mark.parametrize("folder", ["src", "workflow"])
def test_no_other_code_reads_tables(folder):
    own = {"core/tables.py", "data/index.py", "data/sources/tables.py"}
    readers = [p for p in (ROOT / folder).rglob("*.py") if "pd.read_csv" in p.read_text()]
    assert all(any(str(path).endswith(name) for name in own) for path in readers)
