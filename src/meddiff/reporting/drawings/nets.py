"""Nets as blocks: one per change of shape, as high as the image, as wide as it has channels."""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from meddiff.core.files import atomic_write

DRAWN = (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Linear)
"""Layers that may change the shape of an image."""
COLOURS = {"down": "#7aa6d8", "up": "#8fc29a", "same": "#c9d3de", "vector": "#d9b38c"}
GAP = 0.35


@dataclass(frozen=True)
class Block:
    """Layers in a row whose output has one shape.

    Attributes:
        shape: of the output without the batch, (C,H,W) or (d,).
        layers: number of layers.
    """

    shape: tuple[int, ...]
    layers: int = 1

    @property
    def side(self) -> int:
        """Height of the output in px, 1 of a vector."""
        return self.shape[1] if len(self.shape) > 1 else 1


def trace(network: nn.Module, *inputs: Tensor, **keywords: Tensor) -> list[Block]:
    """Return the blocks of a net in the order in which it computes them.

    Nothing is computed: the net and its inputs are put on torch's device `meta`.

    Args:
        network: the net, whose weights stay where they are.
        inputs: of one image, (1,...).
        keywords: other inputs.
    """
    blocks: list[Block] = [Block(tuple(inputs[0].shape[1:]), 0)]

    def note(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        shape = tuple(output.shape[1:])
        # Attention and the embedding of times work on other axes.
        if output.ndim == 4 or (output.ndim == 2 and not keywords):
            if shape == blocks[-1].shape:
                blocks[-1] = Block(shape, blocks[-1].layers + 1)
            else:
                blocks.append(Block(shape))

    copy = deepcopy(network).to("meta").eval()
    for module in copy.modules():
        if isinstance(module, DRAWN):
            module.register_forward_hook(note)
    with torch.no_grad():
        copy(
            *(each.to("meta") for each in inputs),
            **{name: each.to("meta") for name, each in keywords.items()},
        )
    return blocks


def by_size(blocks: Sequence[Block]) -> list[Block]:
    """Return one block per size of image, of nets with more layers than can be shown."""
    merged: list[Block] = []
    for block in blocks:
        if merged and len(block.shape) > 1 and merged[-1].side == block.side and merged[-1].layers:
            merged[-1] = Block(block.shape, merged[-1].layers + block.layers)
        else:
            merged.append(block)
    return merged


def net_figure(blocks: Sequence[Block]) -> Figure:
    """Draw a net from left to right; arcs join levels of one size on the way down and up."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axis = figure.subplots()
    middles, left = [], 0.0
    largest = max(block.side for block in blocks)
    for place, block in enumerate(blocks):
        width = 0.25 + 0.09 * math.sqrt(block.shape[0])
        height = 0.4 + 3.2 * math.sqrt(block.side / largest)
        colour = COLOURS[_kind(blocks, place)]
        axis.add_patch(Rectangle((left, -height / 2), width, height, facecolor=colour,
                                 edgecolor="#1c2024", linewidth=0.8))  # fmt: skip
        _label(axis, block, left + width / 2, height)
        middles.append(left + width / 2)
        left += width + GAP
    for start, end in skips(blocks):
        top = 0.2 + 1.6 * math.sqrt(blocks[start].side / largest)
        axis.annotate("", (middles[end], top + 0.25), (middles[start], top + 0.25),
                      arrowprops={"arrowstyle": "->", "color": "#56606b", "linewidth": 1,
                                  "connectionstyle": "arc3,rad=-0.2"})  # fmt: skip
    axis.set(xlim=(-0.4, left), ylim=(-2.9, 3.4))
    axis.set_axis_off()
    return figure


def _label(axis: Axes, block: Block, middle: float, height: float) -> None:
    size = f"{block.side} px\n" if len(block.shape) > 1 else ""
    layers = f"\n{block.layers} layers" if block.layers > 1 else ""
    axis.text(middle, -height / 2 - 0.12, f"{size}{block.shape[0]}{layers}", ha="center", va="top",
              fontsize=8)  # fmt: skip


def _kind(blocks: Sequence[Block], place: int) -> str:
    if len(blocks[place].shape) == 1:
        return "vector"
    before = blocks[place - 1].side if place else blocks[place].side
    side = blocks[place].side
    return "down" if side < before else "up" if side > before else "same"


def skips(blocks: Sequence[Block]) -> list[tuple[int, int]]:
    """Return places of blocks of one size before and after the deepest, which a connection joins.

    None of a net that does not rise again.
    """
    sides = [block.side for block in blocks if len(block.shape) > 1]
    deepest = sides.index(min(sides))
    joined = []
    for side in sorted(set(sides[deepest + 1 :]) - {min(sides)}, reverse=True):
        before = [place for place in range(deepest) if sides[place] == side]
        after = [place for place in range(deepest, len(sides)) if sides[place] == side]
        if before and after:
            joined.append((before[-1], after[0]))
    return joined


def save_svg(figure: Figure, path: str) -> None:
    """Write a figure as SVG, the same bytes each time, whole or not at all."""
    settings: Any = {"svg.hashsalt": "meddiff", "svg.fonttype": "none"}
    with matplotlib.rc_context(settings), atomic_write(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
