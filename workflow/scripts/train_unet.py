"""Train the segmentation U-Net and score it on its test images."""

from meddiff.arrays import load_images
from meddiff.checkpoints import save_checkpoint
from meddiff.extractors.segmentation import segmentation_scores, train_unet
from meddiff.extractors.settings import UNet
from meddiff.files import write_csv
from meddiff.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    settings = UNet.model_validate(params.settings)
    images = load_images(files.images)
    network, history = train_unet(
        images, load_images(files.masks), settings, seed=params.seed, device=device
    )
    scores = segmentation_scores(
        network, load_images(files.test_images), load_images(files.test_masks), device=device
    )
    write_csv(history, snakemake.output.history)
    write_csv(scores.assign(n_real=len(images)), snakemake.output.predictions)
    about = {"extractor": "unet", "channels": settings.channels, "size": images.shape[1]}
    save_checkpoint(snakemake.output.checkpoint, network.state_dict(), about)
