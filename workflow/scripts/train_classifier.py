"""Train a classifier whose features FID compares, and let it classify the test images."""

from meddiff.core.arrays import load_balanced
from meddiff.core.checkpoints import load_checkpoint, save_checkpoint
from meddiff.core.files import write_csv
from meddiff.extractors.classification import predictions
from meddiff.extractors.registry import module_of
from meddiff.extractors.settings import TrainingSettings
from meddiff.workflow.jobs import job

files, params, name = snakemake.input, snakemake.params, snakemake.wildcards.extractor
with job(snakemake) as device:
    weights, source = load_checkpoint(files.weights) if files.weights else ({}, {})
    start = {"weights": source["weights"]} if source else {}
    sets = {split: load_balanced(files[split]) for split in ("train", "validation", "test")}
    network, history = module_of(name).train_classifier(
        sets["train"],
        sets["validation"],
        len(params.classes),
        TrainingSettings.model_validate(params.settings),
        pretrained=weights or None,
        seed=params.seed,
        device=device,
    )
    table = predictions(network, sets["test"], params.classes, device=device)
    write_csv(history, snakemake.output.history)
    write_csv(table.assign(n_real=len(sets["train"][0]), **start), snakemake.output.predictions)
    size = sets["train"][0].shape[1]
    metadata = {"extractor": name, "classes": len(params.classes), "size": size, **start}
    save_checkpoint(snakemake.output.checkpoint, network.state_dict(), metadata)
