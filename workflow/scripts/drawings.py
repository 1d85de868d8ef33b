"""Draw the nets, the forward process and scores of a toy, from the configuration of the run."""

import torch

from meddiff.core.arrays import load_by_class
from meddiff.diffusion.model import build_network
from meddiff.diffusion.process import build_process
from meddiff.diffusion.settings import NetworkSettings, ScheduleSettings
from meddiff.extractors.resnet50 import ResNet50
from meddiff.extractors.skinlesnet import SkinLesNet
from meddiff.extractors.unet import UNet
from meddiff.reporting.drawings.nets import by_size, net_figure, save_svg, trace
from meddiff.reporting.drawings.noise import noising_figure, processes_figure
from meddiff.reporting.drawings.overview import overview_figure
from meddiff.reporting.drawings.scores import paths_figure, score_figure
from meddiff.workflow.jobs import job

files, params, output = snakemake.input, snakemake.params, snakemake.output
classes, seed, size = params.classes, params.seed, params.size
with job(snakemake):
    real, synthetic = (load_by_class(of, classes) for of in (files.real, files.synthetic))
    schedule = ScheduleSettings.model_validate(params.schedule)
    process = build_process(schedule)
    others = {
        "linear": ScheduleSettings(betas="linear"),
        "cosine": ScheduleSettings(betas="cosine"),
        "ncsn, ve": ScheduleSettings(process="ve", prediction="epsilon"),
        "vp": ScheduleSettings(process="vp", prediction="epsilon"),
        "sub_vp": ScheduleSettings(process="sub_vp", prediction="epsilon"),
    }
    processes = {name: build_process(each) for name, each in others.items()}
    network = build_network(params.channels, **NetworkSettings(**params.network).model_dump())
    nets = {
        "ddpm": (network, params.channels, {"timesteps": torch.zeros(1)}),
        "unet": (UNet(params.unet, size), 3, {}),
        "skinlesnet": (SkinLesNet(len(classes), size), 3, {}),
        "resnet50": (ResNet50(len(classes)), 3, {}),
    }
    figures = {
        "overview": overview_figure(real, synthetic, seed=seed),
        "noise": noising_figure(real[classes[-1]][0], process, seed=seed),
        "processes": processes_figure(processes | {"this run": process}),
        "scores": score_figure(processes["vp"], seed=seed),
        "paths": paths_figure(processes["vp"], seed=seed),
    }
    for name in params.nets:
        net, channels, times = nets[name]
        blocks = trace(net, torch.zeros(1, channels, size, size), **times)
        blocks = by_size(blocks) if name == "resnet50" else blocks
        figures[name] = net_figure(blocks)
    for name, figure in figures.items():
        save_svg(figure, output[name])
