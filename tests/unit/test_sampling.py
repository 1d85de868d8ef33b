"""Images from a checkpoint: each has a stream of its own, whatever else is drawn beside it."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddiff.core.arrays import save_array
from meddiff.core.checkpoints import load_checkpoint, save_checkpoint
from meddiff.core.errors import MeddiffError
from meddiff.core.settings import ComputeSettings
from meddiff.diffusion.model import build_network
from meddiff.diffusion.sampling import ddpm, drawing, sample
from meddiff.diffusion.sampling.ddpm import block_of, load_ddpm
from meddiff.diffusion.sampling.drawing import draw_shard
from meddiff.diffusion.sampling.sample import denoising_strip, sample_images
from meddiff.diffusion.sampling.settings import SamplerSettings, SamplingSettings
from meddiff.diffusion.sampling.shards import gather_shards, shard_members
from meddiff.diffusion.settings import DiffusionSettings

WIDE = {
    "channels": [16, 32, 64],
    "attention": [False, False, True],
    "residual_blocks": 1,
    "head_channels": 64,
    "norm_groups": 16,
}
"""Wide enough that its rounding depends on the number of images it sees at once."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    network = build_network(3, **WIDE)
    for parameter in network.parameters():
        if parameter.abs().max() == 0:
            torch.nn.init.normal_(parameter, std=0.1)
    settings = DiffusionSettings.model_validate({"network": WIDE}).model_dump()
    path = tmp_path_factory.mktemp("ddpm") / "x.safetensors"
    about = {"settings": settings, "size": 16, "channels": 3}
    save_checkpoint(path, network.state_dict(), about)
    return path


def draw(checkpoint, members=range(7), seed=3, name="x", **settings):
    wanted = SamplerSettings.model_validate(
        {"sampler": "ddim", "steps": 6, "spacing": "even", **settings}
    )
    return sample_images(load_ddpm(checkpoint), wanted, members, seed=seed, name=name)


WAYS = [{"sampler": "ddim", "eta": 0.5}, {"sampler": "ddpm"}, {"sampler": "sde_dpm_solver"}]
CONTINUOUS = [
    {"sampler": "langevin"},
    {"sampler": "reverse_sde"},
    {"sampler": "predictor_corrector"},
    {"sampler": "pf_ode"},
    {"sampler": "pf_ode", "tolerance": 1.0},
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", CONTINUOUS, ids=lambda each: "-".join(map(str, each.values())))
def test_an_image_of_another_process_is_the_same_too(checkpoint, tmp_path, settings):
    """From the same weights, taken for those of a process whose variance explodes."""
    weights, about = load_checkpoint(checkpoint)
    about["settings"]["schedule"] = {"process": "ve"}
    save_checkpoint(tmp_path / "ve.safetensors", weights, about)
    path, settings = tmp_path / "ve.safetensors", {"steps": 2} | settings
    whole = draw(path, range(34), **settings)
    assert np.array_equal(draw(path, [33, 2], **settings), whole[[33, 2]])


@pytest.mark.parametrize("settings", [*WAYS, {"precision": "bf16"}])
def test_an_image_is_the_same_whatever_is_drawn_beside_it(checkpoint, settings):
    settings = {"steps": 2} | settings
    whole = draw(checkpoint, range(40), **settings)
    assert whole.shape == (40, 16, 16, 3) and whole.dtype == np.uint8
    for borders in ([0, 13, 40], [0, 32, 35, 40]):
        drawn = [draw(checkpoint, range(*ends), **settings) for ends in pairwise(borders)]
        assert np.array_equal(np.concatenate(drawn), whole)
    for members in ([4, 1], [39], [33, 2, 34, 2]):
        assert np.array_equal(draw(checkpoint, members, **settings), whole[members])


def test_sixteen_bits_give_nearly_the_same_images(checkpoint):
    """Another arithmetic is used, and it is no other sampler."""
    exact, mixed = draw(checkpoint).astype(int), draw(checkpoint, precision="bf16").astype(int)
    assert 0 < np.abs(exact - mixed).mean() < 3


@pytest.mark.parametrize(
    ("side", "images"), [(16, 32), (64, 32), (96, 14), (128, 8), (256, 2), (1024, 1)]
)
def test_blocks_shrink_as_images_grow(side, images):
    assert block_of(side) == images


@given(st.integers(0, 500), st.integers(1, 60), st.sampled_from([16, 64, 128, 1024]))
def test_shards_are_every_image_once_in_order(images, shards, side):
    parts = [shard_members(images, shards, shard, side) for shard in range(shards)]
    assert [member for part in parts for member in part] == list(range(images))
    block = block_of(side)
    assert all(part.start % block == 0 for part in parts if part), "a block is drawn twice"
    blocks = [-(-len(part) // block) for part in parts]
    assert max(blocks) - min(blocks) <= 1


def test_shards_of_different_devices_fit_together(checkpoint, tmp_path, monkeypatch):
    """Every image is drawn once, however many a device draws at once."""
    drawn = []

    def sample_images(model, settings, members, **options):
        drawn.extend(members)
        return np.zeros((len(members), 16, 16, 3), np.uint8)

    monkeypatch.setattr(drawing, "sample_images", sample_images)
    settings = SamplingSettings(images=100, shards=4)
    options = {"seed": 3, "name": "x", "code": "1", "state": tmp_path / "x.state.safetensors"}
    for shard, block in enumerate((32, 512, 2, 512)):
        monkeypatch.setattr(ddpm, "block_of", lambda side, device, block=block: block)
        assert len(draw_shard(checkpoint, settings, ComputeSettings(), shard=shard, **options))
    assert drawn == list(range(100))


def test_shards_that_lack_images_are_not_gathered(tmp_path):
    paths = [tmp_path / f"{shard}.npy" for shard in range(2)]
    parts = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    for path, part in zip(paths, parts, strict=True):
        save_array(part, path)
    assert np.array_equal(gather_shards(paths, 6), parts.reshape(6, 8, 8, 3))
    with pytest.raises(MeddiffError, match=rf"{tmp_path.name} .*\b6 images .*\b7: .*sample_shard"):
        gather_shards(paths, 7)


def test_images_differ_from_each_other_and_between_seeds(checkpoint):
    images = draw(checkpoint)
    assert len(np.unique(images.reshape(7, -1), axis=0)) == 7
    assert not np.array_equal(draw(checkpoint, seed=4), images)
    assert not np.array_equal(draw(checkpoint, name="y"), images)


def test_the_samplers_settings_reach_the_sampler(checkpoint):
    """Each setting changes the images, and only that of the sampler it belongs to."""

    def of(way, **settings):
        return draw(checkpoint, range(2), sampler=way, **{"steps": 3} | settings)

    ways = ("ddpm", "ddim", "dpm_solver", "sde_dpm_solver")
    first = {way: of(way) for way in ways}
    for way, images in first.items():
        assert np.array_equal(of(way, variance="large"), images) == (way != "ddpm")
        assert np.array_equal(of(way, eta=0.8), images) == (way != "ddim")
        assert not np.array_equal(of(way, steps=4), images)
        assert not np.array_equal(of(way, spacing="quadratic"), images)
    for one, other in combinations(ways, 2):
        assert not np.array_equal(first[one], first[other])


def test_a_strip_ends_with_the_sample(checkpoint):
    model, settings = (
        load_ddpm(checkpoint),
        SamplerSettings(sampler="ddim", steps=6, spacing="even"),
    )
    strip = denoising_strip(model, settings, [2, 5], 4, seed=3, name="x")
    assert strip.shape == (2, 4, 16, 16, 3)
    assert np.array_equal(strip[:, -1], draw(checkpoint)[[2, 5]])
    every = denoising_strip(model, settings, [2], 6, seed=3, name="x")
    assert np.array_equal(every[0, [0, 2, 3, 5]], strip[0])


class Ends(Exception):
    """Stands for whatever ends a process."""


def test_sampling_goes_on_where_it_ended(checkpoint, tmp_path, monkeypatch):
    """Ended after every block in turn, and again: the images are those of one run."""
    monkeypatch.setattr(ddpm, "block_of", lambda side, device: 2)
    whole = draw(checkpoint)
    state, steps = tmp_path / "x.state.safetensors", []
    real = sample.trajectory

    def trajectory(model, settings, members, **options):
        if len(steps) % 2:
            steps.append(0)
            raise Ends
        steps.append(len(members))
        return real(model, settings, members, **options)

    monkeypatch.setattr(sample, "trajectory", trajectory)
    options = {"seed": 3, "name": "x", "code": "1", "state": state}
    compute = ComputeSettings(checkpoint_minutes=0)
    settings = SamplingSettings(images=7, sampler="ddim", steps=6, spacing="even")
    for _ in range(3):
        with pytest.raises(Ends):
            draw_shard(checkpoint, settings, compute, **options)
        assert state.exists()
    assert np.array_equal(draw_shard(checkpoint, settings, compute, **options), whole)
    assert sum(steps) == 7, "an image was drawn twice"
    with pytest.raises(Ends):
        draw_shard(checkpoint, settings, compute, **options | {"code": "2"})
    monkeypatch.setattr(sample, "trajectory", real)
    other = draw_shard(checkpoint, settings, compute, **options | {"seed": 4})
    assert not np.array_equal(other, whole), "another seed went on from this one's images"


def test_sampling_starts_over_on_another_device(checkpoint, tmp_path, monkeypatch):
    """A GPU's noise is of another kind, and the images of one class must not mix the two."""
    monkeypatch.setattr(ddpm, "block_of", lambda side, device: 2)
    monkeypatch.setattr(drawing, "load_ddpm", lambda path, device, **options: load_ddpm(path))
    real, drawn = sample.trajectory, []

    def trajectory(model, settings, members, **options):
        if len(drawn) == 2:
            drawn.append(None)
            raise Ends
        drawn.extend(members)
        return real(model, settings, members, **options)

    monkeypatch.setattr(sample, "trajectory", trajectory)
    state = tmp_path / "x.state.safetensors"
    options = {"seed": 3, "name": "x", "code": "1", "state": state}
    compute, settings = ComputeSettings(checkpoint_minutes=0), SamplingSettings(images=4, steps=2)
    with pytest.raises(Ends):
        draw_shard(checkpoint, settings, compute, **options)
    assert state.exists()
    draw_shard(checkpoint, settings, compute, **options, device="cuda")
    assert drawn == [0, 1, None, 0, 1, 2, 3]


def test_a_broken_net_is_told(checkpoint):
    class Broken(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, noisy, timesteps):
            return noisy * float("nan")

    model = replace(load_ddpm(checkpoint), network=Broken())
    with pytest.raises(MeddiffError, match=r"\bx\b.*finite.*diffusion\.lr"):
        sample_images(model, SamplerSettings(steps=2), range(2), seed=0, name="x")


def test_what_is_infinite_is_not_clipped_away(checkpoint):
    model = load_ddpm(checkpoint)
    last = [p for p in model.network.parameters() if p.dim() == 1][-1]
    with torch.no_grad():
        last.fill_(torch.inf)
    with pytest.raises(MeddiffError, match=r"\bx\b.*finite.*diffusion\.lr"):
        sample_images(model, SamplerSettings(steps=2), range(2), seed=0, name="x")


def test_sampling_leaves_a_trainings_arithmetic_alone(checkpoint):
    """Previews in float32 must not end the tf32 of the training that draws them."""
    for chosen in ("high", "highest"):
        torch.set_float32_matmul_precision(chosen)
        draw(checkpoint, range(1))
        assert torch.get_float32_matmul_precision() == chosen


def test_too_little_memory_names_the_setting(checkpoint):
    class Greedy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, noisy, timesteps):
            return torch.empty(2**50)

    model = replace(load_ddpm(checkpoint), network=Greedy())
    with pytest.raises(MeddiffError, match=r"memory: .*compute\.device"):
        sample_images(model, SamplerSettings(steps=2), range(2), seed=0, name="x")


def test_a_truncated_or_foreign_checkpoint_is_told(checkpoint, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(MeddiffError, match=r"cut\.safetensors .*damaged"):
        draw(cut)
    save_checkpoint(cut, {"weight": torch.zeros(2)}, {"extractor": "unet"})
    with pytest.raises(MeddiffError, match=r"cut\.safetensors .*DDPM"):
        draw(cut)
