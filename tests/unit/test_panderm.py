"""PanDerm's net against its description written out: BEiT's blocks on fixed positions."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

timm = pytest.importorskip("timm")

from meddiff.extractors.extractor import Extractor, build_network  # noqa: E402

WIDTH, DEPTH, HEADS, PATCH = 48, 2, 3, 16
SIDE = 224


def published(rng: torch.Generator) -> dict[str, torch.Tensor]:
    """Random weights by the names, and of the shapes, of the published file."""

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng) / 5

    weights = {
        "cls_token": some(1, 1, WIDTH),
        "pos_embed": some(1, (SIDE // PATCH) ** 2 + 1, WIDTH),
        "patch_embed.proj.weight": some(WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": some(WIDTH),
    }
    layers = {
        "attn.proj": (WIDTH, WIDTH),
        "mlp.fc1": (4 * WIDTH, WIDTH),
        "mlp.fc2": (WIDTH, 4 * WIDTH),
    }
    for block in (f"blocks.{n}." for n in range(DEPTH)):
        weights |= {f"{block}{name}": some(WIDTH) for name in
                    ("gamma_1", "gamma_2", "attn.q_bias", "attn.v_bias", "norm1.weight",
                     "norm1.bias", "norm2.weight", "norm2.bias")}  # fmt: skip
        weights[f"{block}attn.qkv.weight"] = some(3 * WIDTH, WIDTH)
        for name, shape in layers.items():
            weights[f"{block}{name}.weight"] = some(*shape)
            weights[f"{block}{name}.bias"] = some(shape[0])
    return weights | {"norm.weight": some(WIDTH), "norm.bias": some(WIDTH)}


def described(weights: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """The class token after the last norm, of prepared images (N,3,224,224)."""
    w = weights

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    patches = F.conv2d(images, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], PATCH)
    tokens = patches.flatten(2).transpose(1, 2)
    x = torch.cat([w["cls_token"].expand(len(images), -1, -1), tokens], 1) + w["pos_embed"]
    for b in (f"blocks.{n}." for n in range(DEPTH)):
        q, k, v = (norm(x, f"{b}norm1") @ w[f"{b}attn.qkv.weight"].T).chunk(3, -1)
        q, v = q + w[f"{b}attn.q_bias"], v + w[f"{b}attn.v_bias"]
        heads = [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (q, k, v)]
        scores = heads[0] @ heads[1].transpose(-1, -2) / (WIDTH / HEADS) ** 0.5
        mixed = (scores.softmax(-1) @ heads[2]).transpose(1, 2).flatten(2)
        x = x + w[f"{b}gamma_1"] * F.linear(
            mixed, w[f"{b}attn.proj.weight"], w[f"{b}attn.proj.bias"]
        )
        hidden = F.gelu(
            F.linear(norm(x, f"{b}norm2"), w[f"{b}mlp.fc1.weight"], w[f"{b}mlp.fc1.bias"])
        )
        x = x + w[f"{b}gamma_2"] * F.linear(hidden, w[f"{b}mlp.fc2.weight"], w[f"{b}mlp.fc2.bias"])
    return norm(x[:, 0], "norm")


@pytest.mark.parametrize("head", [True, False])
def test_features_are_the_described_nets(monkeypatch: pytest.MonkeyPatch, head: bool) -> None:
    create = timm.create_model
    small = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS}
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: create(*a, **{**k, **small}))
    weights = published(torch.Generator().manual_seed(0))
    of_file = weights | (
        {"head.weight": torch.zeros(7, WIDTH), "head.bias": torch.zeros(7)} if head else {}
    )
    network = build_network({"extractor": "panderm"}, of_file, "here", "no")
    extractor = Extractor("panderm", network, None, "", "")
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.228, 0.224, 0.225])
    prepared = torch.from_numpy((images / 255 - mean) / std).float().permute(0, 3, 1, 2)
    expected = described(weights, prepared).numpy()
    features = extractor.features(images)
    assert extractor.dimension == WIDTH and features.std() > 0.1
    np.testing.assert_allclose(features, expected, atol=1e-4)
