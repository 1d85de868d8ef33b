"""Train SkinLesNet and let it classify the test images."""

from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.files import write_csv
from meddiff.data.loading import load_balanced
from meddiff.extractors.classification import predictions
from meddiff.extractors.settings import SkinLesNet
from meddiff.extractors.skinlesnet import train_skinlesnet
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake) as device:
    sets = {name: load_balanced(snakemake.input[name]) for name in ("train", "validation", "test")}
    network, history = train_skinlesnet(
        sets["train"],
        sets["validation"],
        len(params.classes),
        SkinLesNet.model_validate(params.settings),
        seed=params.seed,
        device=device,
    )
    table = predictions(network, sets["test"], params.classes, device=device)
    write_csv(history, snakemake.output.history)
    write_csv(table.assign(n_real=len(sets["train"][0])), snakemake.output.predictions)
    metadata = {
        "extractor": "skinlesnet",
        "classes": len(params.classes),
        "size": sets["train"][0].shape[1],
    }
    save_checkpoint(snakemake.output.checkpoint, network.state_dict(), metadata)
