"""Settings of sampling from a DDPM."""

from typing import Annotated, Literal, get_args

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from meddiff.core.settings import Precision, Settings, without_repeats

Spacing = Literal["even", "quadratic"]
SamplerName = Literal[
    "ddpm", "ddim", "dpm_solver", "sde_dpm_solver", "pf_ode", "predictor_corrector",
    "reverse_sde", "langevin",
]  # fmt: skip
FITTING = {"reverse_sde": ("ve", "vp", "sub_vp"), "langevin": ("ncsn", "ve")}
"""Processes of the samplers that do not fit all."""


class SamplerSettings(Settings):
    """How a DDPM is sampled."""

    sampler: SamplerName = "sde_dpm_solver"
    """`ddpm` is the study's ancestral sampling, `ddim` Song et al. 2021, `dpm_solver` and, with the
    noise of `ddpm`, `sde_dpm_solver` DPM-Solver++(2M) (Lu et al. 2022); `pf_ode` solves the
    probability-flow equation and `predictor_corrector` is from the same paper (Song et al. 2021,
    score-based models): these work with any process. `reverse_sde` is for continuous ones,
    `langevin` for `ncsn` and `ve`."""
    steps: PositiveInt = 25
    """Denoising steps, at most T for discrete processes; the study's ancestral sampling takes all
    1000."""
    spacing: Spacing = "quadratic"
    """Times of the steps: `quadratic` puts more of them at low noise."""
    variance: Literal["small", "large"] = "small"
    """Noise of `ddpm`: `small` is the posterior's variance, `large` the forward process's."""
    eta: float = Field(default=0.0, ge=0, le=1)
    """Noise of `ddim`: 0 is none, 1 is that of `ddpm`."""
    langevin_steps: PositiveInt = 1
    """Langevin steps per time, of `langevin` and of the corrector."""
    langevin_size: float = Field(default=0.6, gt=0, lt=2)
    """Step size of `langevin`, in units of the variance of the noise level."""
    snr: PositiveFloat = 0.16
    """Signal-to-noise ratio of the corrector's steps."""
    predictor: Literal["reverse_diffusion", "ancestral"] = "reverse_diffusion"
    """Step of `predictor_corrector` from time to time."""
    tolerance: PositiveFloat | None = None
    """Error tolerance per step of `pf_ode`, with which an adaptive solver chooses the steps of each
    image; null: Heun's method in `steps`."""
    precision: Precision = "fp32"
    """Arithmetic of the network during sampling, as for training."""
    guidance: float = Field(default=0.0, ge=0)
    """Weight w of classifier-free guidance, (1 + w) x conditional - w x unconditional (Ho and
    Salimans 2022, eq. 6); 0 for none. Doubles the cost of each step. Needs
    `diffusion.conditional`."""

    def misfit(self, process: str, levels: int | None) -> str:
        """Return why these do not draw from a process, as what follows their key; else nothing."""
        if process not in FITTING.get(self.sampler, (process,)):
            names = [n for n in get_args(SamplerName) if process in FITTING.get(n, (process,))]
            return (
                f"sampler {self.sampler} does not fit diffusion.schedule.process {process}: take "
                f"{', '.join(names)}"
            )
        if levels is not None and self.steps > levels:
            return f"steps {self.steps}: diffusion.schedule.timesteps is {levels}"
        return ""


class PreviewSettings(SamplerSettings):
    """Images sampled at every validation during training, always from the same noise."""

    images: int = Field(default=4, ge=0)
    """Number of images, per class with `diffusion.conditional`; 0 for none."""


class GuidanceSettings(Settings):
    """Guidance weights that `results/guidance.csv` compares, for a `conditional` network."""

    weights: list[Annotated[float, Field(ge=0)]] = Field(default=[0, 0.5, 1, 2, 4], min_length=1)
    """Weights, as in `sampling.guidance`."""
    images: int = Field(default=200, ge=2)
    """Images per class and weight."""

    _differ = field_validator("weights")(without_repeats)


class SamplingSettings(SamplerSettings):
    """Sampling of each DDPM."""

    images: int = Field(default=200, ge=2)
    """Images per class."""
    shards: PositiveInt = 1
    """Jobs that sample the images of a class. Another number samples them again, with the same
    result on the same kind of device. A GPU always samples 512 at once, fewer above 64 px: smaller
    shards do not save time there."""
