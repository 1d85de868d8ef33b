"""Drawings and the gallery: shapes of nets, scores in closed form, every number of the study."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from meddiff.diffusion.model import build_network
from meddiff.diffusion.process import build_process
from meddiff.diffusion.settings import NetworkSettings, ScheduleSettings
from meddiff.extractors.resnet50 import ResNet50
from meddiff.extractors.skinlesnet import SkinLesNet
from meddiff.extractors.unet import UNet
from meddiff.reporting.drawings.nets import by_size, net_figure, save_svg, skips, trace
from meddiff.reporting.drawings.scores import (
    CENTRES,
    SPREAD,
    exact_denoiser,
    fitted_denoiser,
    score_field,
)
from meddiff.reporting.figures.numbers import (
    DRAWINGS,
    OF_HANDS,
    OF_LESIONS,
    Numbered,
    figures_of,
)
from meddiff.reporting.page.gallery import gallery_page

VP = build_process(ScheduleSettings(process="vp", prediction="epsilon"))


@pytest.mark.parametrize("size", [32, 64])
def test_blocks_have_the_shapes_that_the_net_computes(size: int) -> None:
    net = SkinLesNet(2, size).eval()
    blocks = trace(net, torch.zeros(1, 3, size, size))
    assert blocks[0].shape == (3, size, size)
    assert blocks[-1].shape == tuple(net(torch.zeros(1, 3, size, size)).shape[1:])
    # Flattened, the last image is what FID compares.
    last = [b.shape for b in blocks if len(b.shape) == 3][-1]
    assert np.prod(last) == net.features(torch.zeros(1, 3, size, size)).shape[1]
    layers = sum(isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.Linear) for m in net.modules())
    assert sum(block.layers for block in blocks) == layers
    assert all(p.device.type == "cpu" for p in net.parameters())


def test_connections_of_u_nets_join_each_level_once() -> None:
    channels = [16, 32, 64, 128]
    blocks = trace(UNet(channels, 32), torch.zeros(1, 3, 32, 32))
    joined = skips(blocks)
    assert len(joined) == len(channels) - 1
    assert all(blocks[a].side == blocks[b].side and a < b for a, b in joined)
    network = build_network(1, **NetworkSettings().model_dump())
    blocks = trace(network, torch.zeros(1, 1, 32, 32), timesteps=torch.zeros(1))
    assert len(skips(blocks)) == len(NetworkSettings().channels) - 1
    assert blocks[-1].shape == (1, 32, 32)
    resnet = by_size(trace(ResNet50(2), torch.zeros(1, 3, 64, 64)))
    assert skips(resnet) == []
    assert [b.shape[0] for b in resnet[-7:]] == [2048, 1024, 512, 256, 128, 64, 2]


def test_a_drawing_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    blocks = trace(SkinLesNet(2, 32), torch.zeros(1, 3, 32, 32))
    for name in "ab":
        save_svg(net_figure(blocks), str(tmp_path / f"{name}.svg"))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.fixture(scope="module")
def fitted() -> Callable:
    return fitted_denoiser(VP, seed=0)


@pytest.mark.parametrize("share", [0.15, 0.4, 0.7])
def test_exact_scores_are_gradients_and_fitted_ones_near_them(
    share: float, fitted: Callable
) -> None:
    time = VP.at(share)
    signal, noise = VP.parts(time)
    generator = torch.Generator().manual_seed(1)
    clean = CENTRES[torch.randint(3, (400,), generator=generator)]
    clean = clean + SPREAD * torch.randn(400, 2, generator=generator)
    points = (signal * clean + noise * torch.randn(400, 2, generator=generator)).double()
    points.requires_grad_()
    variance = (signal * SPREAD) ** 2 + noise**2
    apart = ((points[:, None] - signal * CENTRES.double()) ** 2).sum(-1)
    torch.logsumexp(-apart / (2 * variance), dim=1).sum().backward()
    exact = score_field(exact_denoiser(VP), VP, time, points.detach())
    assert np.allclose(exact, points.grad.numpy(), atol=1e-5)
    near = score_field(fitted, VP, time, points.detach().float())
    error = np.linalg.norm(near - exact, axis=1).mean() / np.linalg.norm(exact, axis=1).mean()
    assert error < 0.25


def numbers(figures: object) -> set[str]:
    names: set[str] = set()
    for each in figures:
        for part in each.numbers.split(", "):
            first, _, last = part.partition("-")
            chapter, start = first.split(".")
            stop = int(last.split(".")[1]) if last else int(start)
            names |= {f"{chapter}.{n}" for n in range(int(start), stop + 1)}
    return names


def test_every_figure_of_the_study_has_its_place() -> None:
    assert numbers((*OF_HANDS, *OF_LESIONS)) == {f"5.{n}" for n in range(1, 22)}
    drawn = {"1.4", "2.1", "2.2", "2.3", "2.4", "2.5", "4.1", "4.2", "4.3"}
    assert {number for number, _ in DRAWINGS.values()} == drawn
    hands = figures_of(["hand"], [], ["hand"])
    assert numbers(hands) >= {f"5.{n}" for n in range(1, 7)}
    assert not any("unet" in each.path or "extractors" in each.path for each in hands)
    lesions = figures_of(
        ["benign", "malignant"], ["unet", "skinlesnet", "resnet50"], ["benign", "malignant"]
    )
    paths = [each.path for each in lesions]
    assert len(set(paths)) == len(paths)
    assert numbers(lesions) >= drawn | {f"5.{n}" for n in range(7, 22)}
    # Images of one class come from elsewhere.
    fewer = {each.path for each in figures_of(["benign", "malignant"], ["unet"], ["malignant"])}
    assert {path for path in paths if "skinlesnet" not in path and "resnet50" not in path} - {
        path for path in paths if "ddpm/benign" in path or "samples/benign" in path
    } == fewer


def test_a_gallery_shows_each_figure_with_its_command(tmp_path: Path) -> None:
    from PIL import Image

    svg, png = tmp_path / "a.svg", tmp_path / "b.png"
    svg.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    Image.new("RGB", (8, 8)).save(png)
    figures = [Numbered("1.4", "<script>", str(svg)), Numbered("5.1", "images", str(png))]
    page = gallery_page(figures, {"data": "phantom", "scale": "demo", "seed": 0})
    assert "<script>" not in page
    assert page.count("<img ") == page.count(' alt="') == 2
    assert re.findall(r"snakemake --cores 2 (\S+)</code>", page) == [str(svg), str(png)]
    assert not re.search(r'(src|href)="(?!data:|#)', page)
