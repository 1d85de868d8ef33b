"""Samplers against MONAI's steps and closed forms; every image has a stream of its own."""

import numpy as np
import pytest
import torch
from monai.networks.schedulers import DDIMScheduler

from meddiff.checkpoints import save_checkpoint
from meddiff.diffusion.model import build_network, build_schedule
from meddiff.diffusion.sampling import (
    clean_estimate,
    ddim_step,
    ddpm_step,
    respaced_times,
    sample,
    sample_images,
)
from meddiff.diffusion.settings import Diffusion, Sampling
from meddiff.errors import MeddiffError

LINEAR = {"timesteps": 1000, "schedule": "linear", "beta_start": 1e-4, "beta_end": 2e-2}
NETWORK = {
    "channels": [8, 16],
    "attention": [False, True],
    "residual_blocks": 1,
    "head_channels": 8,
    "norm_groups": 4,
}


class Fixed(torch.nn.Module):
    """A net whose answer depends on its input but needs no training."""

    def forward(self, noisy, timesteps):
        return 0.3 * noisy + 0.001 * timesteps.reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("time", [999, 500, 1])
def test_ancestral_step_is_monais(prediction, time):
    schedule = build_schedule(**LINEAR, prediction=prediction)
    noisy = torch.randn(2, 3, 8, 8)
    output = Fixed()(noisy, torch.full((2,), time))
    expected, clean = schedule.step(output, time, noisy, generator=torch.Generator().manual_seed(5))
    noise = torch.randn(noisy.shape, generator=torch.Generator().manual_seed(5))
    bars = schedule.alphas_cumprod
    ours = clean_estimate(Fixed(), schedule, noisy, time)
    assert torch.allclose(ours, clean, atol=1e-5)
    found = ddpm_step(noisy, ours, bars[time], bars[time - 1], noise)
    assert torch.allclose(found, expected, atol=1e-4)


def test_deterministic_step_is_monais():
    """MONAI takes the noise from the unclipped estimate, so compare where nothing is clipped."""
    monai = DDIMScheduler(
        1000, schedule="linear_beta", beta_start=1e-4, beta_end=2e-2, clip_sample=False
    )
    monai.set_timesteps(50)
    noisy = 0.1 * torch.randn(2, 3, 8, 8)
    time, after = 400, 380
    output = 0.1 * torch.randn(2, 3, 8, 8)
    expected, clean = monai.step(output, time, noisy)
    bars = monai.alphas_cumprod
    found = ddim_step(noisy, clean, bars[time], bars[after], torch.zeros(()))
    assert torch.allclose(found, expected, atol=1e-4)


def test_respaced_times_run_from_the_noisiest_to_the_last():
    assert respaced_times(1000, 1000) == list(range(999, -1, -1))
    times = respaced_times(1000, 50)
    assert len(set(times)) == 50 and times[0] == 999 and times[-1] == 0


@pytest.mark.parametrize(("sampler", "steps"), [("ddpm", 1000), ("ddim", 500)])
def test_the_exact_net_for_a_gaussian_gives_that_gaussian(sampler, steps):
    """For data N(m, s^2) the best prediction is known, and sampling must return mean and spread."""
    mean, spread = 0.2, 0.15
    schedule = build_schedule(**LINEAR, prediction="epsilon")
    bars = schedule.alphas_cumprod

    class Exact(torch.nn.Module):
        def forward(self, noisy, timesteps):
            a = bars[timesteps.long()].reshape(-1, 1, 1, 1)
            variance = a * spread**2 + 1 - a
            return (1 - a).sqrt() * (noisy - a.sqrt() * mean) / variance

    batches = sample(
        Exact(), schedule, (1, 16, 16), range(64), sampler=sampler, steps=steps, batch_size=64,
        zero_centred=True, seed=0, name="x",
    )  # fmt: skip
    values = np.concatenate(list(batches)) / 127.5 - 1
    assert values.mean() == pytest.approx(mean, abs=0.01)
    assert values.std() == pytest.approx(spread, rel=0.06)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    network = build_network(3, **NETWORK)
    for parameter in network.parameters():
        if parameter.abs().max() == 0:
            torch.nn.init.normal_(parameter, std=0.1)
    settings = Diffusion.model_validate({"network": NETWORK}).model_dump()
    path = tmp_path_factory.mktemp("ddpm") / "x.safetensors"
    about = {"settings": settings, "size": 16, "channels": 3}
    save_checkpoint(path, network.state_dict(), about)
    return path


def draw(checkpoint, **settings):
    values = {"images": 7, "sampler": "ddim", "steps": 6, **settings}
    return sample_images(checkpoint, Sampling.model_validate(values), seed=3, name="x")


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_batch_size_changes_no_image(checkpoint, batch_size):
    whole = draw(checkpoint, batch_size=50)
    assert whole.shape == (7, 16, 16, 3) and whole.dtype == np.uint8
    assert np.array_equal(draw(checkpoint, batch_size=batch_size), whole)


def test_more_images_begin_with_the_same_ones(checkpoint):
    assert np.array_equal(draw(checkpoint, images=4), draw(checkpoint)[:4])


def test_images_differ_from_each_other_and_between_seeds(checkpoint):
    images = draw(checkpoint)
    assert len(np.unique(images.reshape(7, -1), axis=0)) == 7
    settings = Sampling.model_validate({"images": 7, "steps": 6})
    assert not np.array_equal(sample_images(checkpoint, settings, seed=4, name="x"), images)
    assert not np.array_equal(sample_images(checkpoint, settings, seed=3, name="y"), images)


def test_a_broken_net_is_told(checkpoint):
    class Broken(torch.nn.Module):
        def forward(self, noisy, timesteps):
            return noisy * float("nan")

    schedule = build_schedule(**LINEAR, prediction="epsilon")
    with pytest.raises(MeddiffError, match="samples of x are not finite"):
        list(
            sample(
                Broken(), schedule, (3, 8, 8), range(2), sampler="ddim", steps=2, batch_size=2,
                zero_centred=True, seed=0, name="x",
            )
        )  # fmt: skip


def test_a_truncated_checkpoint_is_told(checkpoint, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(MeddiffError, match=r"cut\.safetensors is no checkpoint .*delete it"):
        draw(cut)
