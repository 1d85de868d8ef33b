# The weight of classifier-free guidance against FID, recall and what classifiers learn.

GUIDED = [f"guided-{weight:g}" for weight in cfg.guidance.weights]


use rule sample as guided_samples with:
    output:
        "data/images/guided-{weight}/{cls}.npy",
    params:
        settings=lambda wildcards: {
            **SAMPLER,
            "images": cfg.guidance.images,
            "guidance": float(wildcards.weight),
        },
        seed=cfg.seed,


use rule features as guided_features with:
    input:
        checkpoint=extractor_checkpoint,
        images=image_sets(GUIDED, CLASSES),
    output:
        features(GUIDED),


use rule cas_arms as guided_cas with:
    input:
        **CAS_IMAGES | {"synthetic": image_sets(["guided-{weight}"], CLASSES)},
        weights=[],
    output:
        "cas/guided-{weight}/{classifier}.csv",
    params:
        **SEEDED,
        settings=cas_settings(cfg, "skinlesnet") | {"arms": ["synthetic"]},
        repetitions=cfg.cas.n_repeats,
        equal_steps=False,
        code=extractor_code("cas_arms.py", "skinlesnet"),


rule guidance:
    """FID, recall and classification accuracy score by the weight of guidance."""
    input:
        reference=expand(features(cfg.reference_sets), extractor=EXTRACTORS),
        guided=expand(features(GUIDED), extractor=EXTRACTORS),
        predictions=expand("cas/{set}/skinlesnet.csv", set=GUIDED) if len(CLASSES) > 1 else [],
    output:
        table=table("results/guidance.csv", "guidance", "weight of guidance"),
        figure=picture("guidance", "weight of guidance"),
    params:
        **SCORING,
        extractors=EXTRACTORS,
    script:
        "../scripts/guidance.py"
