# Synthetic images that were made elsewhere: of a class in place of a DDPM's, and of other generators.

GENERATOR = "generators/{generator}/"
GENERATED = image_sets([f"{GENERATOR}synthetic"])
GENERATED_FEATURES = features(["synthetic"], of=GENERATOR)


rule import_images:
    """Read the synthetic images of one class that were made elsewhere."""
    input:
        "data/images/index.csv",
    output:
        "data/images/{imported}.npy",
    params:
        source=lambda wildcards: IMPORTED_SETS[wildcards.imported],
    script:
        "../scripts/import_images.py"


use rule features as generator_features with:
    input:
        checkpoint=paths.extractor,
        images=GENERATED,
    output:
        GENERATED_FEATURES,


use rule distances as generator_distances with:
    input:
        reference=features(cfg.reference_sets),
        scored=[*GENERATED_FEATURES, *features(SCORED[len(cfg.synthetic_sets) :])],
        checkpoint=paths.extractor,
    output:
        "metrics/generators/{generator}/distances/{extractor}.csv",


use rule similarity as generator_similarity with:
    input:
        GENERATED,
    output:
        "metrics/generators/{generator}/similarity/{images}.csv",


use rule memorisation as generator_memorisation with:
    input:
        **paths.copies(of=GENERATOR),
        ddpms=[],
    output:
        table="metrics/generators/{generator}/memorisation.csv",
        figure=picture("generators/{generator}", "{generator}: nearest images", "memorisation"),


use rule cas_arms as generator_arms with:
    input:
        **paths.cas_inputs(GENERATED),
    output:
        "cas/generators/{generator}/{classifier}.csv",
    params:
        trained=[name for name in ("synthetic", "mixed") if name in {"synthetic", *cfg.cas.arms}],


rule generators:
    """Set other generators' images beside this run's, real images and noise, by every score."""
    input:
        **imported.compared_files(cfg, rules.table_5_2.input, CAS_RUNS),
    output:
        **result("generators", "generators", "images of several generators"),
    script:
        "../scripts/generators.py"
