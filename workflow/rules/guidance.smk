# The weight of classifier-free guidance against FID, recall and what classifiers learn.


use rule sample as guided_samples with:
    output:
        "data/images/guided-{weight}/{cls}.npy",
    params:
        settings=lambda w: sections.sampler(cfg, cfg.guidance.images, guidance=float(w.weight)),


use rule cas_arms as guided_cas with:
    input:
        **paths.cas_inputs(image_sets(["guided-{weight}"])),
    output:
        "cas/guided-{weight}/{classifier}.csv",
    params:
        settings=sections.cas_settings(cfg, "skinlesnet") | {"arms": ["synthetic"]},
        equal_steps=False,


rule guidance:
    """FID, recall and classification accuracy score by the weight of guidance."""
    input:
        reference=expand(features(cfg.reference_sets), extractor=EXTRACTORS),
        guided=expand(features(GUIDED), extractor=EXTRACTORS),
        predictions=expand("cas/{set}/skinlesnet.csv", set=GUIDED) if len(CLASSES) > 1 else [],
    output:
        table=table("results/guidance.csv", "guidance", "weight of guidance"),
        figure=picture("guidance", "weight of guidance"),
    script:
        "../scripts/guidance.py"
