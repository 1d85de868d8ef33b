"""Radiomic features: those of pyradiomics, and distances that no one of them decides alone."""

import json
import re
import sys

import numpy as np
import pytest
import torch

import meddiff
from conftest import ROOT
from meddiff.core.errors import MeddiffError

pytest.importorskip("fastrad")
EXPECTED = ROOT / "tests/pyradiomics.json"
"""pyradiomics 3.0.1, `binWidth` 25 and `force2D`, of `waves` within a border that its mask leaves
out: it takes no mask that is the whole image."""


def waves() -> np.ndarray:
    """A grey image, uint8 (20, 24, 1)."""
    y, x = np.mgrid[:20, :24]
    grey = 90 + 60 * np.sin(x / 3) + 40 * np.cos(y / 2 + x / 7) + (x * 7 + y * 13) % 11
    return grey.round().clip(0, 255).astype(np.uint8)[..., None]


def plain(name: str) -> str:
    return re.sub("th|[^a-z0-9]", "", name.lower())


def test_features_are_pyradiomics() -> None:
    from fastrad import Mask, MedicalImage

    extractor = meddiff.load_extractor("radiomics")
    grey = torch.from_numpy(waves()[..., 0].astype(float))[None]
    image = MedicalImage(grey), Mask(torch.ones_like(grey))
    names = map(plain, extractor.network._extractor.extract(*image))
    values = extractor.features(waves()[None])
    assert values.shape == (1, extractor.dimension)
    ours = dict(zip(names, values[0], strict=True))
    for name, value in json.loads(EXPECTED.read_text()).items():
        assert ours[plain(name)] == pytest.approx(value, rel=1e-5), name
    beside = {"firstorderstandarddeviation", "gldmgraylevelnonuniformitynormalized"}
    assert ours.keys() - {plain(name) for name in json.loads(EXPECTED.read_text())} == beside


def blobs(seed: int, noise: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    a, b = rng.uniform(5, 11, (2, 40, 1, 1))
    inside = np.exp(-((y - a) ** 2 + (x - b) ** 2) / rng.uniform(4, 20, (40, 1, 1)))
    return (
        (180 * inside + rng.normal(40, noise, inside.shape))
        .clip(0, 255)
        .astype(np.uint8)[..., None]
    )


def test_distances_tell_textures_apart() -> None:
    extractors = {"radiomics": meddiff.load_extractor("radiomics")}
    scores = []
    for noise in (4, 25):
        result = meddiff.evaluate(blobs(0, 4), blobs(1, noise), extractors, n_resamples=8,
                                  ssim_images=8)  # fmt: skip
        table = result.scores.set_index("metric")
        scores.append(table.loc["kid", "score"])
        assert table.loc["fid", "ceiling"] < 1e3, "no feature of 1e8 outweighs all others"
    print(scores)
    assert scores[0] > 0.9 > 0.7 > scores[1]


def test_without_its_package_one_line_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "fastrad", None)
    monkeypatch.delitem(sys.modules, "meddiff.extractors.radiomics", raising=False)
    with pytest.raises(MeddiffError, match=r"radiomics .*\bfastrad\b.*meddiff\[radiomics\]"):
        meddiff.load_extractor("radiomics")
