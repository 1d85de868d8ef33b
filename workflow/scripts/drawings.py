"""Draw the nets, the forward process and scores of a toy, from the configuration of the run."""

from meddiff.core.arrays import load_by_class
from meddiff.diffusion.model import build_network
from meddiff.diffusion.settings import NetworkSettings, ScheduleSettings
from meddiff.extractors.resnet50 import ResNet50
from meddiff.extractors.skinlesnet import SkinLesNet
from meddiff.extractors.unet import UNet
from meddiff.reporting.drawings.figures import drawn_figures
from meddiff.reporting.drawings.nets import save_svg
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
classes, size = params.classes, params.size
with job(snakemake):
    nets = {
        "ddpm": build_network(
            params.channels, **NetworkSettings.model_validate(params.network).model_dump()
        ),
        "unet": UNet(params.unet, size),
        "skinlesnet": SkinLesNet(len(classes), size),
        "resnet50": ResNet50(len(classes)),
    }
    figures = drawn_figures(
        load_by_class(files.real, classes),
        load_by_class(files.synthetic, classes),
        ScheduleSettings.model_validate(params.schedule),
        {name: nets[name] for name in params.nets},
        seed=params.seed,
    )
    for name, figure in figures.items():
        save_svg(figure, snakemake.output[name])
