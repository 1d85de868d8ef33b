"""Train the segmentation U-Net and score it on its test images."""

from meddiff.core.arrays import load_images
from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.files import write_csv
from meddiff.extractors.segmentation import segmentation_scores, train_unet
from meddiff.extractors.settings import UNetSettings
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    settings = UNetSettings.model_validate(params.settings)
    images, test_images = map(load_images, files.images)
    masks, test_masks = map(load_images, files.masks)
    # As in the study, whose masks had rows and columns exchanged.
    training = images, masks.swapaxes(1, 2) if params.get("transposed") else masks
    test = test_images, test_masks
    # ISIC 2016 has no validation images. The history tells of the test images, as in the study;
    # nothing is chosen by them.
    network, history = train_unet(training, test, settings, seed=params.seed, device=device)
    scores = segmentation_scores(network, *test, device=device)
    write_csv(history, snakemake.output.history)
    write_csv(scores.assign(n_real=len(images)), snakemake.output.predictions)
    metadata = {"extractor": "unet", "channels": settings.channels, "size": images.shape[1]}
    save_checkpoint(snakemake.output.checkpoint, network.state_dict(), metadata)
