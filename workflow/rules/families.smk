# Families of models at the same images, net and steps: config/families.yaml -> results/families.csv.

COMPARISON = families.compared(FAMILIES, CLASSES)
DRAWINGS = COMPARISON["drawings"]


use rule train_ddpm as train_family with:
    input:
        images=lambda w: image_sets(DDPM_SETS, FAMILIES[w.family].taught(w.cls, CLASSES)),
        validation=lambda w: image_sets(["validation"], FAMILIES[w.family].taught(w.cls, CLASSES)),
        autoencoder=[],
    output:
        checkpoint="models/families/{family}/{cls}.safetensors",
        history="models/families/{family}/{cls}_history.csv",
        previews="models/families/{family}/{cls}_previews.npy",
    wildcard_constraints:
        cls=one_of([*CLASSES, "all"]),
    params:
        settings=lambda w: FAMILIES[w.family].training(w.cls),
        classes=lambda w: CLASSES if w.cls == "all" else [],


use rule sample as sample_family with:
    input:
        checkpoint=lambda w: FAMILIES[w.family].checkpoint(w.cls),
    output:
        "data/images/families/{family}/{sampler}/{cls}.npy",
    wildcard_constraints:
        cls=one_of(CLASSES),
    params:
        settings=lambda w: FAMILIES[w.family].samplers[w.sampler].model_dump(exclude={"shards"}),


use rule likelihood as family_likelihood with:
    input:
        training=image_sets(DDPM_SETS),
        unseen=image_sets(UNLEARNT),
        ddpms=lambda w: [FAMILIES[w.family].checkpoint(name) for name in CLASSES],
    output:
        "metrics/families/{family}/likelihood.csv",
    params:
        classes=CLASSES,
        images=min(families.LIKELIHOOD_IMAGES, cfg.metrics.likelihood_images),
        stamp={},


rule family_scores:
    """Score the images of one family and sampler beside training and unseen images."""
    input:
        training=image_sets(DDPM_SETS),
        unseen=image_sets(UNLEARNT),
        synthetic=image_sets(["families/{family}/{sampler}"]),
        extractor=f"models/{families.judge(cfg)}.safetensors",
    output:
        "metrics/families/{family}/{sampler}/scores.csv",
    script:
        "../scripts/family_scores.py"


rule families:
    """Set families of models and their samplers side by side, with what they cost."""
    input:
        scores=expand("metrics/families/{drawing}/scores.csv", drawing=DRAWINGS),
        likelihoods=expand("metrics/families/{family}/likelihood.csv", family=FAMILIES),
        images=expand("data/images/families/{drawing}/{cls}.npy", drawing=DRAWINGS, cls=CLASSES),
        real=image_sets(DDPM_SETS[:1]),
    output:
        table=table("results/families.csv", "families", "models and samplers compared"),
        figure=picture("families", "models and samplers compared"),
        samples=picture("families_samples", "samples of every model", "families"),
    params:
        **COMPARISON,
    script:
        "../scripts/families.py"
