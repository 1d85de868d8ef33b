"""Every duplicate that the phantom plants is detected, by its own reason, and nothing else is."""

from pathlib import Path

import pandas as pd
import pytest

from meddiff.data.duplicates.search import search_index
from meddiff.data.index import build_index
from meddiff.data.phantom.archives import write_kaggle_edition
from meddiff.data.phantom.plan import plan_editions
from meddiff.data.sources.challenge import read_challenge
from meddiff.data.sources.kaggle import read_kaggle

COUNTS = {edition: {"benign": 40, "malignant": 30} for edition in ("2018", "2019", "2020")}


@pytest.fixture(scope="module", params=[0, 1])
def planted(request, tmp_path_factory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A plan, and the index of what was drawn from it."""
    folder: Path = tmp_path_factory.mktemp("raw")
    plan = plan_editions(request.param, COUNTS, 0.1, 0.15)
    archives = {edition: folder / f"{edition}.zip" for edition in COUNTS}
    for edition, path in archives.items():
        write_kaggle_edition(path, plan[plan["edition"] == edition], size=128)
    index = build_index(read_kaggle(archives, read_challenge({}), "melanoma"), workers=2)
    plan = plan.assign(id=plan["edition"] + "/" + plan["isic_id"]).set_index("id")
    return plan.loc[index["id"]], index


def test_photographs_are_those_of_the_plan(planted):
    plan, index = planted
    result = search_index(index, workers=2)
    photograph = result.images["duplicate_of"].fillna(index["id"])
    pairs = pd.DataFrame({"group": photograph.to_numpy(), "true": plan["seed"].to_numpy()})
    assert (pairs.groupby("true")["group"].nunique() == 1).all(), "a planted duplicate is missing"
    assert (pairs.groupby("group")["true"].nunique() == 1).all(), "two photographs were merged"
    assert set(result.links["second"]) >= set(plan.index[plan["kind"] != "original"])


def test_each_pair_says_why(planted):
    plan, index = planted
    links = search_index(index, workers=2).links
    kinds = plan["kind"].to_numpy()[index.set_index("id").index.get_indexer(links["second"])]
    assert (links["kind"].map({"bytes": "exact", "near": "near"}).to_numpy() == kinds).all()
    near = links["kind"] == "near"
    assert near.any() and links.loc[near, ["residual", "correlation"]].notna().all(axis=None)


def test_the_official_list_comes_before_the_looks(planted):
    plan, index = planted
    near = plan[plan["kind"] == "near"].iloc[:3]
    listed = pd.DataFrame({"first": near["duplicate_of"], "second": near["isic_id"]})
    strangers = pd.DataFrame({"first": ["X"], "second": ["Y"]})
    result = search_index(index, official=pd.concat([listed, strangers]), workers=2)
    kinds = result.links.set_index("second")["kind"]
    assert (kinds.loc[near.index] == "official").all()
    assert (kinds == "official").sum() == len(near)


def test_rows_in_another_order_are_grouped_alike(planted):
    _, index = planted
    result = search_index(index, workers=2)
    again = search_index(index.sample(frac=1, random_state=1), workers=1)
    pd.testing.assert_frame_equal(again.images.loc[index.index], result.images)
    pd.testing.assert_frame_equal(again.links, result.links)
