"""Families of models: their file, and their table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT
from meddiff.core.errors import MeddiffError
from meddiff.data.image_sets import ImageSet
from meddiff.evaluation.evaluate import evaluate
from meddiff.evaluation.families import MEASURES, families_table, family_rows
from meddiff.reporting.figures.families import families_figure
from meddiff.workflow.config import Config
from meddiff.workflow.families import families_for, read_families

SHIPPED = ROOT / "config/families.yaml"


def test_families_differ_from_the_run_in_what_their_file_says() -> None:
    cfg = Config.model_validate(
        {"diffusion": {"lr": 0.002, "steps": 70, "classes": {"benign": {"epochs": 3}}}}
    )
    families = read_families(SHIPPED, cfg)
    assert len(SHIPPED.read_text().splitlines()) <= 50
    kinds = {family.diffusion.schedule.process for family in families.values()}
    assert kinds == {"ddpm", "ncsn", "ve", "vp", "sub_vp"}
    for name, family in families.items():
        assert family.diffusion.lr == 0.002 and family.diffusion.network == cfg.diffusion.network
        together = sum(
            family.training(net)["steps"] for net in {family.net(c) for c in cfg.data.classes}
        )
        assert together == 140, name
        for sampler in family.samplers.values():
            assert (sampler.images, sampler.shards) == (64, 1)
    assert families["conditional"].net("benign") == "all"
    assert families["study"].diffusion.schedule.pixel_range == [0, 1]
    assert families["ve"].samplers["pf_ode"].precision == cfg.sampling.precision


def test_a_familys_name_is_true_whatever_the_run_draws_with() -> None:
    run = {"diffusion": {"schedule": {"process": "ve"}, "preview": {"spacing": "even"}},
           "sampling": {"sampler": "pf_ode"}}  # fmt: skip
    usual, other = (read_families(SHIPPED, Config.model_validate(x)) for x in ({}, run))
    for name, family in usual.items():
        assert other[name].diffusion.schedule == family.diffusion.schedule, name
        kinds = [{k: s.sampler for k, s in each.samplers.items()} for each in (family, other[name])]
        assert kinds[0] == kinds[1]


def test_a_family_that_differs_in_nothing_is_the_runs_own_ddpm() -> None:
    changes = {"classes": {"benign": {"schedule": {"prediction": "epsilon"}}}}
    for diffusion, shared in (({}, ["benign", "malignant"]), (changes, ["malignant"]),
                              ({"conditional": True}, []), ({"latent": {}}, [])):  # fmt: skip
        cfg = Config.model_validate({"diffusion": diffusion})
        families = read_families(SHIPPED, cfg)
        assert families["ddpm"].shared == shared
        assert not any(each.shared for name, each in families.items() if name != "ddpm")
        of_run = families["ddpm"].checkpoint("malignant") == "models/ddpm/malignant.safetensors"
        assert of_run == ("malignant" in shared)


def test_a_run_whose_own_net_is_guided_has_families_too() -> None:
    cfg = Config.model_validate({"diffusion": {"conditional": True}, "sampling": {"guidance": 1}})
    families = read_families(SHIPPED, cfg)
    assert not any(each.guidance for each in families["ddpm"].samplers.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {samplers: {x: {sampler: langevin}}}", r"a\.x: sampler langevin .*ddpm: take ddpm"),
        ("a: {samplers: {x: {guidance: 1}}}", r"a\.x: guidance needs .conditional"),
        ("a: {samplers: {x: {stops: 1}}}", "stops"),
        ("a: {diffusion: {lr: -1}, samplers: {}}", "lr"),
        ("a: {nets: 1}", "a.nets"),
        ("a: {diffusion: {latent: {}}, samplers: {}}", r"a\.diffusion\.latent"),
        ("a: [", "expected"),
    ],
)
def test_a_wrong_family_is_one_line_with_file_and_key(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "families.yaml"
    path.write_text(text)
    with pytest.raises(MeddiffError, match=message) as error:
        read_families(path, Config())
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_who_asks_for_families_hears_why_there_are_none() -> None:
    hands = Config.model_validate({"data": {"source": "phantom_hand", "classes": ["hand"]}})
    for targets in ([], ["all"], ["results/table_5_2.csv"]):
        assert families_for(targets, SHIPPED, hands) == {}
        assert families_for(targets, SHIPPED, Config()) == read_families(SHIPPED, Config())
    for targets in (["families"], ["all", "results/families.csv"]):
        with pytest.raises(MeddiffError, match=r"families\.yaml: .*classifier"):
            families_for(targets, SHIPPED, hands)


class Means:
    """Features of an extractor: means of the colours and of the halves."""

    metrics = ()

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return np.concatenate([images.mean((1, 2)), images[:, :8].mean((1, 2))], axis=1)


def test_the_table_has_a_row_per_family_sampler_and_class(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)

    def drawn(size: int, brightness: int) -> ImageSet:
        images = rng.normal(brightness, 40, (size, 16, 16, 3)).clip(0, 255).astype(np.uint8)
        return ImageSet(images, labels=("a",) * (size // 2) + ("b",) * (size // 2))

    real = drawn(40, 120)
    for sampler, brightness in (("good", 120), ("bad", 220)):
        scores = evaluate(
            real, drawn(20, brightness), {"means": Means()}, unseen=drawn(20, 120), n_resamples=4
        )
        family_rows(scores).to_csv(f"{sampler}.csv", index=False)
    bits = {"class": ["a", "a", "a"], "image_set": ["training", "unseen", "gap"]}
    numbers = {"bits_per_dimension": [5.0, 5.5, 0.5], "ci_low": [4, 5, 0.1], "ci_high": [6, 6, 0.9]}
    pd.DataFrame(bits | numbers).to_csv("bits.csv", index=False)
    for job, seconds in (("train_family/x-a", 12.5), ("train_ddpm/b", 10.0)):
        benchmark = Path(f"logs/outer_{job}.benchmark.tsv")
        benchmark.parent.mkdir(parents=True)
        benchmark.write_text(f"s\th:m:s\n{seconds}\t0\n")
    table = families_table(
        ["x/good", "x/bad"], ["good.csv", "bad.csv"], ["bits.csv"],
        {"x/good": 5, "x/bad": 9}, {"x": ["train_family/x-a", "train_ddpm/b"]}, "logs/outer_",
    )  # fmt: skip
    whole = table[table["class"] == "all"].set_index("sampler")
    assert set(table["class"]) >= {"a", "b", "all"} and len(whole) == 2
    for measure in MEASURES:
        assert whole[measure].notna().all(), measure
    assert whole.loc["good", "fid"] < whole.loc["bad", "fid"] <= whole.loc["bad", "fid_ci_high"]
    assert (table["seconds_to_train"] == 22.5).all() and table["seconds_to_draw"].isna().all()
    own = table[table["class"] == "a"]
    assert (own["bits_gap"] == 0.5).all() and (own["bits_gap_ci_high"] == 0.9).all()
    assert whole.loc["good", "verdict"] and table["steps"].tolist()[0] == 5
    figures = families_figure(table), families_figure(pd.concat([table, *far_off(table)]))
    assert [len(figure.axes) for figure in figures] == [3, 3]
    assert [figure.axes[0].get_xscale() for figure in figures] == ["linear", "symlog"]


def far_off(table: pd.DataFrame) -> list[pd.DataFrame]:
    """A family of images unlike any real one, and others between."""
    fid = table["fid"].median()
    return [table.assign(family=name, fid=fid * by) for name, by in (("c", 1), ("d", 1), ("e", 99))]
