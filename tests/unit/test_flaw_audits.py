"""What measures the study's flaws: copies across editions, halves of one set, faulty trainings."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from meddiff.audit.halves import halves_table
from meddiff.audit.leakage import leakage_table, listed_again
from meddiff.audit.trainings import AS_MEANT, PLATEAU, VOID, trainings_table, variants
from meddiff.core.batches import count_steps
from meddiff.diffusion.settings import DiffusionSettings

FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def edition(images: int) -> pd.DataFrame:
    """An index of images that have nothing in common."""
    numbers = [f"{n:04d}" for n in range(images)]
    columns = {name: pd.Series([f"{name}{n}" for n in numbers], dtype="string")
               for name in ("id", "image", "bytes_sha256", "pixels_sha256")}  # fmt: skip
    table = pd.DataFrame(columns).assign(
        edition="2018",
        label=["malignant" if n % 4 == 0 else "benign" for n in range(images)],
        group=range(images),
    )
    missing = pd.Series(pd.NA, table.index, dtype="string")
    return table.assign(duplicate_of=missing, patient=missing, lesion=missing)


def test_a_random_split_of_images_that_stand_twice_leaks_as_often_as_it_trains() -> None:
    """Of a test image the other copy is in training with the training images' share."""
    index = listed_again(edition(2000))
    table = leakage_table(index, None, fractions=FRACTIONS, counts={"benign": "all"}, seed=0)
    shares = table[(table["net"] == "classifier") & (table["unit"] == "image")]
    shares = shares.set_index("protocol")["share"]
    n = 2 * 0.1 * 2000
    assert shares["as_published"] == pytest.approx(0.8, abs=3 * (0.8 * 0.2 / n) ** 0.5)
    assert shares["leak_free"] == 0


def test_listing_again_keeps_copies_of_copies_together() -> None:
    index = edition(3)
    index.loc[1, "duplicate_of"] = index.loc[0, "id"]
    again = listed_again(index)
    photographs = again["duplicate_of"].fillna(again["id"])
    assert again["id"].is_unique and photographs.nunique() == 2
    assert (photographs[:3].to_numpy() == photographs[3:].to_numpy()).all()


def test_halves_of_one_distribution_are_far_by_fid_and_not_by_kid() -> None:
    """Of n images each in d > n dimensions FID is at least that of the means, 2 d / n."""
    rng = np.random.default_rng(0)
    features = {"a": rng.normal(size=(200, 400)), "b": 1 + rng.normal(size=(120, 400))}
    table = halves_table(features, most=80, n_resamples=20, seed=0).set_index(["class", "metric"])
    assert table.loc[("a", "fid"), "n_real"] == 80 and table.loc[("b", "fid"), "n_real"] == 60
    for name, n in (("a", 80), ("b", 60)):
        assert table.loc[(name, "fid"), "value"] > 2 * 400 / n
        assert table.loc[(name, "kid"), "ci_low"] < 0 < table.loc[(name, "kid"), "ci_high"]
    assert (table["dimension"] == 400).all()


STUDY = DiffusionSettings(
    steps=None, epochs=100, batch_size=4, gradient_accumulation=8, lr_schedule="plateau"
)


def test_trainings_differ_in_one_thing_and_take_the_same_steps() -> None:
    made = variants(STUDY, 40, 662)
    assert {name: s.batch_size * s.gradient_accumulation for name, s in made.items()} == {
        AS_MEANT: 32, VOID: 4, PLATEAU: 32,
    }  # fmt: skip
    steps = {count_steps(s, 662, s.batch_size * s.gradient_accumulation) for s in made.values()}
    assert steps == {40 * 21}
    assert [s.lr_schedule for s in made.values()] == ["constant", "constant", "plateau"]
    own = {"batch_size", "gradient_accumulation", "lr_schedule"}
    assert len({s.model_dump_json(exclude=own) for s in made.values()}) == 1


def test_gradients_zeroed_before_every_part_leave_those_of_the_last() -> None:
    """The study's loop, written out, ends with the weights of steps of one part each."""
    parts = torch.randn(5, 8, 4, 3)  # steps, parts, images, values
    faulty = nn.Linear(3, 1)
    ours = copy.deepcopy(faulty)
    optimizers = [torch.optim.Adam(net.parameters()) for net in (faulty, ours)]
    for step in parts:
        for number, images in enumerate(step, 1):
            optimizers[0].zero_grad()
            (faulty(images).square().mean() / 8).backward()
            if number % 8 == 0:
                optimizers[0].step()
        optimizers[1].zero_grad()
        (ours(step[-1]).square().mean() / 8).backward()
        optimizers[1].step()
    assert torch.equal(faulty.weight, ours.weight)


@pytest.mark.slow
def test_a_plateau_ends_a_training_and_a_constant_rate_does_not() -> None:
    network = {"channels": [8, 8], "attention": [False, False], "norm_groups": 4,
               "head_channels": 4}  # fmt: skip
    own = {"network": network, "batch_size": 2, "gradient_accumulation": 2, "lr": 1e-3}
    settings = DiffusionSettings.model_validate(STUDY.model_dump() | own)
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    made = variants(settings, 40, 8) | {"again": variants(settings, 40, 8)[AS_MEANT]}
    table = trainings_table((images, images[:2]), made, name="a", seeds=1, seed=0)
    table = table.set_index("treatment")
    rates = table["lr"]
    # The same training whatever it is called.
    assert table.loc["again", "validation_loss"] == table.loc[AS_MEANT, "validation_loss"]
    assert rates[PLATEAU] < 1e-3 == rates[AS_MEANT] == rates[VOID]
    assert table["validation_loss"].gt(0).all() and (table["steps"] == 80).all()
