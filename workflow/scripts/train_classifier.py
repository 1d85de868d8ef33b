"""Train a classifier whose features FID compares, and let it classify the test images."""

from meddiff.core.arrays import load_balanced
from meddiff.core.checkpoints import load_checkpoint, save_checkpoint
from meddiff.core.files import write_csv
from meddiff.extractors.classification import predictions, train_classifier
from meddiff.extractors.names import module_of
from meddiff.extractors.settings import TrainingSettings
from meddiff.workflow.jobs import job

files, params, name = snakemake.input, snakemake.params, snakemake.wildcards.extractor
with job(snakemake) as device:
    weights, source = load_checkpoint(files.weights) if files.weights else ({}, {})
    start = {"weights": source["weights"]} if source else {}
    sets = {split: load_balanced(files[split]) for split in ("train", "validation", "test")}
    size = sets["train"][0].shape[1]
    network, history = train_classifier(
        module_of(name).recipe(len(params.classes), size, weights or None),
        sets["train"],
        sets["validation"],
        TrainingSettings.model_validate(params.settings),
        seed=params.seed,
        name=name,
        device=device,
    )
    table = predictions(network, sets["test"], params.classes, device=device)
    write_csv(history, snakemake.output.history)
    write_csv(table.assign(n_real=len(sets["train"][0]), **start), snakemake.output.predictions)
    metadata = {"extractor": name, "classes": len(params.classes), "size": size, **start}
    save_checkpoint(snakemake.output.checkpoint, network.state_dict(), metadata)
