"""What a GPU runs, as far as a CPU can tell: its step, its noise and its upsampling."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from meddiff.core import graphs
from meddiff.diffusion.model import Doubled, build_network, double_by_repeating
from meddiff.diffusion.sampling.noise import philox, philox_normal
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training import trainer
from meddiff.diffusion.training.loop import train_ddpm
from meddiff.diffusion.training.steps import GraphStep
from nets import TINY

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"min_snr": 5.0, "optimizer": "adam", "lr_schedule": "plateau"},
        {"batch_size": 2, "gradient_accumulation": 2, "ema": None},
        {"precision": "bf16"},
        {"min_snr": 5.0, "schedule": {"process": "ve"}},
    ],
    ids=["average", "min-snr", "accumulated", "bf16", "continuous"],
)
def test_the_step_of_a_gpu_is_that_of_a_cpu(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = {"steps": 7, "batch_size": 4, "network": TINY, "lr": 1e-3, "ema": 0.9}
    settings = DiffusionSettings.model_validate(fixed | {"preview": {"images": 0}} | changes)
    expected = train_ddpm(IMAGES, settings, seed=0, name="x", validation=IMAGES[:5])
    monkeypatch.setattr(
        trainer,
        "build_step",
        lambda model, settings, runtime, name: GraphStep(model, settings, name),
    )
    trained = train_ddpm(IMAGES, settings, seed=0, name="x", validation=IMAGES[:5])
    columns = ["loss", "validation_loss", "lr"]
    np.testing.assert_allclose(trained.history[columns], expected.history[columns], rtol=1e-5)
    for key, weight in expected.weights.items():
        assert torch.allclose(trained.weights[key], weight, atol=1e-5), key


@pytest.fixture
def capture_on_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A stand-in for CUDA that captures nothing; returns its arguments."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    log = SimpleNamespace(ambient=stream, current=[], generators=[], body=nullcontext())

    class Graph:
        def replay(self) -> None:
            pass

    for name, stand_in in {
        "Stream": lambda device: stream,
        "current_stream": lambda: stream,
        "set_stream": log.current.append,
        "stream": lambda stream: nullcontext(),
        "graph": lambda graph, **options: log.body,
        "CUDAGraph": Graph,
        "get_rng_state": lambda device: torch.get_rng_state(),
        "set_rng_state": lambda state, device: torch.set_rng_state(state),
        "current_device": lambda: 0,
        "default_generators": [
            SimpleNamespace(clone_state=lambda: "copy", graphsafe_set_state=log.generators.append)
        ],
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    graphs._side_stream.cache_clear()
    yield log
    graphs._side_stream.cache_clear()


def test_nothing_binds_gradients_to_the_stream_before_a_capture(
    capture_on_cpu: SimpleNamespace,
) -> None:
    """What accumulates a gradient belongs to the stream that was current when it was made."""
    weight = torch.ones(2, requires_grad=True)
    alive = []

    def body(images: torch.Tensor) -> torch.Tensor:
        node = torch.autograd.graph.get_gradient_edge(weight).node
        alive.append("marked" in node.metadata)
        node.metadata["marked"] = True
        return (weight * images).sum().detach()

    graphs.Graphed(body, lambda: [weight])._capture((torch.ones(2),))
    assert alive == [False] * (graphs.WARM_UP + 1)


def test_a_captured_step_begins_where_an_eager_one_does(capture_on_cpu: SimpleNamespace) -> None:
    """Weights, moments, batch norm's statistics, dropout: as if the warm-up had not been."""
    ends = []
    for captured in (False, True):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5)
        )
        optimizer = graphs.capturable_optimizer(torch.optim.Adam, network, 0.1)
        body = partial(step_once, network, optimizer)
        if captured:
            state = partial(graphs.changed_by_step, network, optimizer)
            graphs.Graphed(body, state)._capture((torch.ones(8, 4),))
        else:
            body(torch.ones(8, 4))
        ends.append([*graphs.changed_by_step(network, optimizer), torch.get_rng_state()])
    for eager, replayed in zip(*ends, strict=True):
        assert torch.equal(eager, replayed)


def step_once(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, inputs: torch.Tensor
) -> torch.Tensor:
    optimizer.zero_grad(set_to_none=True)
    loss = (network(inputs) - 1).square().mean()
    loss.backward()
    optimizer.step()
    return loss.detach()


def test_a_failed_capture_says_why_and_leaves_the_stream(
    capture_on_cpu: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    class Capture(nullcontext):
        def __exit__(self, *error: object) -> None:
            raise RuntimeError("capture invalidated")

    def failing(kind: type[Exception]) -> Callable:
        calls = iter(range(99))

        def body(images: torch.Tensor) -> torch.Tensor:
            if next(calls) == graphs.WARM_UP:
                raise kind("copied to the host")
            return images

        return body

    capture_on_cpu.body = Capture()
    inputs = (torch.ones(2),)
    assert graphs.Graphed(failing(ValueError))._try_capture(inputs) is None
    assert "copied to the host" in caplog.text
    with pytest.raises(torch.OutOfMemoryError):
        graphs.Graphed(failing(torch.OutOfMemoryError))._try_capture(inputs)
    assert capture_on_cpu.current == [capture_on_cpu.ambient] * 2
    # The generator that took part in the capture would refuse to draw outside of one.
    assert capture_on_cpu.generators == ["copy"] * 2


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_gives_its_authors_known_answers(counter: list, key: list, expected: list) -> None:
    """Those of Random123, the library of Salmon et al. (2011)."""
    words = philox([torch.tensor([word]) for word in counter], [torch.tensor([k]) for k in key])
    assert [word.item() for word in words] == expected


def test_noise_of_an_image_is_normal_and_its_own() -> None:
    shape = (3, 31, 33)
    keys = torch.tensor([5, 2**40, 2**62])
    first, second = (philox_normal(keys, torch.tensor(number), shape) for number in (0, 1))
    assert torch.equal(philox_normal(keys[1:2], torch.tensor(0), shape)[0], first[1])
    assert torch.equal(philox_normal(keys, torch.arange(2), shape), torch.stack([first, second]))
    samples = torch.cat([first, second]).flatten(1).double()
    assert samples.mean(1).abs().max() < 0.08 and (samples.std(1) - 1).abs().max() < 0.06
    assert (samples.abs() > 1.96).double().mean() == pytest.approx(0.05, abs=0.005)
    assert (torch.corrcoef(samples) - torch.eye(6)).abs().max() < 0.08


def test_doubling_is_nearest_neighbour_upsampling() -> None:
    images = torch.randn(2, 3, 4, 5, requires_grad=True)
    weights = torch.randn(2, 3, 8, 10)
    outputs = [module(images) for module in (Doubled(), torch.nn.Upsample(scale_factor=2.0))]
    assert torch.equal(*outputs)
    gradients = [torch.autograd.grad((weights * each).sum(), images)[0] for each in outputs]
    assert torch.allclose(*gradients)
    network = build_network(3, **TINY).eval()
    noisy, times = torch.randn(2, 3, 16, 16), torch.tensor([3, 500])
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    before = network(noisy, timesteps=times)
    double_by_repeating(network)
    assert not any(isinstance(module, torch.nn.Upsample) for module in network.modules())
    assert torch.allclose(network(noisy, timesteps=times), before, atol=1e-5)
