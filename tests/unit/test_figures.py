"""Figures: which images are shown, what curves are drawn, PNGs of a sensible size."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meddiff.reporting.figures.curves import save_figure, training_curves
from meddiff.reporting.figures.segmentation import evenly_ranked, segmentation_examples


def saved(figure, path) -> np.ndarray:
    save_figure(figure, path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def history(**columns) -> pd.DataFrame:
    table = {"step": [5, 10, 15], "epoch": [1, 2, 3], "loss": [0.9, 0.5, 0.4]}
    table |= {"validation_loss": [np.nan, 0.6, 0.5], "lr": [1e-3, 1e-3, 5e-4]}
    return pd.DataFrame(table | columns)


def test_ranks_reach_from_the_worst_to_the_best():
    values = np.random.default_rng(0).permutation(101) / 100
    positions, quantiles = evenly_ranked(values, 5)
    assert values[positions].tolist() == quantiles.tolist() == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(
    ("values", "count", "positions"),
    [
        ([0.3, 0.1, 0.2], 7, [1, 2, 0]),
        ([0.0, 0.0, 0.0, 0.0], 2, [0, 3]),
        ([0.4], 7, [0]),
        ([0.2, 0.9, 0.1], 1, [2]),
    ],
)
def test_ranks_of_few_and_of_equal_values(values, count, positions):
    predicted, quantiles = evenly_ranked(np.array(values), count)
    assert predicted.tolist() == positions
    assert quantiles[0] == 0 and ((quantiles >= 0) & (quantiles <= 1)).all()


def test_curves_of_losses_alone_are_one_panel(tmp_path):
    """As a DDPM's: an axis for the losses, one for the rate."""
    figure = training_curves(history(), "DDPM benign")
    assert len(figure.axes) == 2 and figure.axes[0].get_title() == "DDPM benign"
    height, width, _ = saved(figure, tmp_path / "c.png").shape
    assert (width, height) == (504, 408)


def test_scores_are_drawn_where_they_were_measured(tmp_path):
    table = history(validation_dice=[np.nan, 0.25, 0.75])
    figure = training_curves(table, "unet", held_out="test")
    losses, panel = figure.axes[:2]
    assert [line.get_label() for line in losses.lines] == ["training", "test"]
    assert losses.get_title() == "U-Net"
    assert panel.lines[0].get_xydata().tolist() == [[10, 0.25], [15, 0.75]]
    assert "Dice 0.750" in panel.get_title() and panel.get_ylim() == (0, 1.02)
    assert "Dice" in panel.get_ylabel()
    height, width, _ = saved(figure, tmp_path / "c.png").shape
    assert (width, height) == (1008, 408)


@pytest.mark.parametrize(("losses", "scale"), [([0.9, 0.5, 0.4], "linear"), ([9, 1, 0.1], "log")])
def test_losses_over_a_decade_are_drawn_in_decades(losses, scale):
    assert training_curves(history(loss=losses), "net").axes[0].get_yscale() == scale


def test_a_training_of_one_epoch_is_seen(tmp_path):
    blue = np.array([0x1F, 0x77, 0xB4])
    one = history(validation_loss=np.nan)[:1]
    picture = saved(training_curves(one, "net"), tmp_path / "c.png")[:330]
    assert (np.abs(picture - blue).sum(-1) < 20).sum() > 5


def examples_of(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, pd.DataFrame]:
    images = np.full((count, 32, 32, 3), 200, np.uint8)
    masks = np.zeros((count, 32, 32), bool)
    masks[:, 8:20, 8:20] = True
    dice = np.random.default_rng(0).permutation(count) / count
    return images, masks, masks.copy(), pd.DataFrame({"dice": dice, "iou": dice / (2 - dice)})


def test_examples_of_segmentation_show_failures_first(tmp_path):
    images, masks, predicted, scores = examples_of(41)
    worst = int(scores["dice"].argmin())
    predicted[worst] = False
    figure = segmentation_examples(images, masks, predicted, scores)
    top, _, bottom = np.array(figure.axes).reshape(3, 7)
    assert [axis.get_title() for axis in top[[0, 3, 6]]] == ["worst", "median", "best"]
    assert [axis.get_xlabel() for axis in bottom[[0, 6]]] == [
        "Dice 0.00\nIoU 0.00",
        "Dice 0.98\nIoU 0.95",
    ]
    assert [len(axis.texts) for axis in bottom] == [1, 0, 0, 0, 0, 0, 0]
    height, width, _ = saved(figure, tmp_path / "s.png").shape
    assert (width, height) == (1320, 624)


@pytest.mark.parametrize("count", [1, 3])
def test_examples_of_few_images_and_of_whole_masks(count, tmp_path):
    """A mask that fills the image still has an edge in the colour of what was found."""
    images, masks, predicted, scores = examples_of(count)
    predicted[:] = True
    picture = saved(segmentation_examples(images, masks, predicted, scores), tmp_path / "s.png")
    orange = (np.abs(picture.astype(int) - [0xFF, 0xB0, 0]).sum(-1) < 20).sum()
    assert orange > 200 * count
    assert not plt.get_fignums()
