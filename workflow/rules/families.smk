# Families of models at the same images, net and steps: config/families.yaml -> results/families.csv.

from meddiff.workflow.families import LIKELIHOOD_IMAGES, read_families, unless

try:
    FAMILIES, FAULT = read_families(workflow.source_path("../../config/families.yaml"), cfg), ""
except MeddiffError as error:  # of a configuration that families cannot differ from
    FAMILIES, FAULT = {}, str(error)

DRAWINGS = [f"{family}/{name}" for family, each in FAMILIES.items() for name in each.samplers]
# One net of this run judges all; FIDs of several cannot be compared.
JUDGE = "skinlesnet" if "skinlesnet" in TRAINED else "resnet50"


use rule train_ddpm as train_family with:
    input:
        images=lambda w: image_sets(DDPM_SETS, FAMILIES[w.family].taught(w.cls, CLASSES)),
        validation=lambda w: image_sets(["validation"], FAMILIES[w.family].taught(w.cls, CLASSES)),
        autoencoder=[],
    output:
        checkpoint="models/families/{family}/{cls}.safetensors",
        history="models/families/{family}/{cls}_history.csv",
        previews="models/families/{family}/{cls}_previews.npy",
    log:
        "logs/train_family/{family}-{cls}.log",
        speed="logs/train_family/{family}-{cls}_speed.csv",
    wildcard_constraints:
        family=one_of(FAMILIES),
        cls=one_of([*CLASSES, "all"]),
    params:
        settings=lambda wildcards: FAMILIES[wildcards.family].training(wildcards.cls),
        seed=cfg.seed,
        classes=lambda wildcards: CLASSES if wildcards.cls == "all" else [],


use rule sample as sample_family with:
    input:
        checkpoint=lambda w: f"models/families/{w.family}/{FAMILIES[w.family].net(w.cls)}.safetensors",
    output:
        "data/images/families/{family}/{sampler}/{cls}.npy",
    wildcard_constraints:
        family=one_of(FAMILIES),
        sampler="[^/]+",
        cls=one_of(CLASSES),
    params:
        settings=lambda wildcards: FAMILIES[wildcards.family]
        .samplers[wildcards.sampler]
        .model_dump(exclude={"shards"}),
        seed=cfg.seed,


use rule likelihood as family_likelihood with:
    input:
        training=image_sets(DDPM_SETS, CLASSES),
        unseen=image_sets([] if "test" in DDPM_SETS else ["test"], CLASSES),
        ddpms=lambda wildcards: [
            f"models/families/{wildcards.family}/{FAMILIES[wildcards.family].net(c)}.safetensors"
            for c in CLASSES
        ],
    output:
        "metrics/families/{family}/likelihood.csv",
    params:
        **SEEDED,
        images=min(LIKELIHOOD_IMAGES, cfg.metrics.likelihood_images),
        stamp={},


rule family_scores:
    """Score the images of one family and sampler beside training and unseen images."""
    input:
        training=image_sets(DDPM_SETS, CLASSES),
        unseen=image_sets([] if "test" in DDPM_SETS else ["test"], CLASSES),
        synthetic=image_sets(["families/{family}/{sampler}"], CLASSES),
        extractor=f"models/{JUDGE}.safetensors",
    output:
        "metrics/families/{family}/{sampler}/scores.csv",
    resources:
        gpu=GPU,
    params:
        **SEEDED,
        n_resamples=cfg.metrics.n_resamples,
        judge=JUDGE,
        code=lambda wildcards: extractor_code("family_scores.py", JUDGE),
    script:
        "../scripts/family_scores.py"


rule families:
    """Set families of models and their samplers side by side, with what they cost."""
    input:
        scores=lambda wildcards: unless(
            FAULT, expand("metrics/families/{drawing}/scores.csv", drawing=DRAWINGS)
        ),
        likelihoods=expand("metrics/families/{family}/likelihood.csv", family=FAMILIES),
        images=expand("data/images/families/{drawing}/{cls}.npy", drawing=DRAWINGS, cls=CLASSES),
        real=image_sets(DDPM_SETS[:1], CLASSES),
    output:
        table=table("results/families.csv", "families", "models and samplers compared"),
        figure=picture("families", "models and samplers compared"),
        samples=picture("families_samples", "samples of every model", "families"),
    params:
        **STAMPED,
        drawings=DRAWINGS,
        nets={name: sorted({each.net(c) for c in CLASSES}) for name, each in FAMILIES.items()},
        steps={
            f"{family}/{name}": sampler.steps
            for family, each in FAMILIES.items()
            for name, sampler in each.samplers.items()
        },
    script:
        "../scripts/families.py"
