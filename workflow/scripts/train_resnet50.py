"""Train ResNet50 and let it classify the test images."""

from meddiff.core.checkpoints import load_checkpoint, save_checkpoint
from meddiff.core.files import write_csv
from meddiff.data.loading import load_balanced
from meddiff.extractors.classification import predictions
from meddiff.extractors.resnet50 import train_resnet50
from meddiff.extractors.settings import Training
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake) as device:
    imagenet, pretrained = load_checkpoint(snakemake.input.weights)
    sets = {name: load_balanced(snakemake.input[name]) for name in ("train", "validation", "test")}
    network, history = train_resnet50(
        sets["train"],
        sets["validation"],
        len(params.classes),
        Training.model_validate(params.settings),
        imagenet=imagenet or None,
        seed=params.seed,
        device=device,
    )
    table = predictions(network, sets["test"], params.classes, device=device)
    write_csv(history, snakemake.output.history)
    weights = pretrained["weights"]
    table = table.assign(n_real=len(sets["train"][0]), weights=weights)
    write_csv(table, snakemake.output.predictions)
    metadata = {
        "extractor": "resnet50",
        "weights": weights,
        "classes": len(params.classes),
        "size": sets["train"][0].shape[1],
    }
    save_checkpoint(snakemake.output.checkpoint, network.state_dict(), metadata)
