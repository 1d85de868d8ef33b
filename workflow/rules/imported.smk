# Synthetic images that were made elsewhere: of a class in place of a DDPM's, and of other generators.

from functools import partial

from meddiff.workflow.imported import PROJECT, other_generators, own_generator
from meddiff.workflow.parameters import imported_as

os.environ[PROJECT] = str(ROOT)
GENERATOR = "generators/{generator}/synthetic"
GENERATED = image_sets([GENERATOR], CLASSES)
GENERATED_FEATURES = expand(
    "features/generators/{{generator}}/{{extractor}}/synthetic/{cls}.npy", cls=CLASSES
)


wildcard_constraints:
    generator=one_of(other_generators(cfg)),
    imported=one_of(IMPORTED_SETS),


# Of files on every other generator, by their path.
of_others = partial(
    expand,
    generator=other_generators(cfg),
    extractor=EXTRACTORS,
    classifier=[*cfg.cas.classifiers, HOG_SVM],
)


rule import_images:
    """Read the synthetic images of one class that were made elsewhere."""
    input:
        "data/images/index.csv",
    output:
        "data/images/{imported}.npy",
    params:
        **imported_as(cfg),
        source=lambda wildcards: IMPORTED_SETS[wildcards.imported],
    script:
        "../scripts/import_images.py"


use rule features as generator_features with:
    input:
        checkpoint=extractor_checkpoint,
        images=GENERATED,
    output:
        GENERATED_FEATURES,


use rule distances as generator_distances with:
    input:
        reference=features(cfg.reference_sets),
        scored=[*GENERATED_FEATURES, *features(SCORED[len(cfg.synthetic_sets) :])],
        checkpoint=extractor_checkpoint,
    output:
        "metrics/generators/{generator}/distances/{extractor}.csv",


use rule similarity as generator_similarity with:
    input:
        GENERATED,
    output:
        "metrics/generators/{generator}/similarity/{images}.csv",


use rule memorisation as generator_memorisation with:
    input:
        training=image_sets(DDPM_SETS, CLASSES),
        synthetic=GENERATED,
        unseen=image_sets(["test"], CLASSES),
        ddpms=[],
        features=expand(
            [*features([*DDPM_SETS, "test"]), *GENERATED_FEATURES],
            extractor=PRETRAINED,
            allow_missing=True,
        ),
    output:
        table="metrics/generators/{generator}/memorisation.csv",
        figure=picture("generators/{generator}", "{generator}: nearest images", "memorisation"),


use rule cas_arms as generator_arms with:
    input:
        **{**CAS_IMAGES, "synthetic": GENERATED},
        weights=lambda wildcards: RESNET50 if wildcards.classifier == "resnet50" else [],
    output:
        "cas/generators/{generator}/{classifier}.csv",
    params:
        **SEEDED,
        settings=lambda wildcards: cas_settings(cfg, wildcards.classifier),
        trained=[name for name in ("synthetic", "mixed") if name in {"synthetic", *cfg.cas.arms}],
        repetitions=cfg.cas.n_repeats,
        equal_steps=not STUDY,
        code=lambda wildcards: extractor_code("cas_arms.py", wildcards.classifier),


rule generators:
    """Set other generators' images beside this run's, real images and noise, by every score."""
    input:
        quality=[
            *rules.table_5_2.input,
            *of_others("metrics/generators/{generator}/distances/{extractor}.csv"),
            *of_others("metrics/generators/{generator}/similarity/synthetic.csv"),
        ],
        copies=(
            []
            if "test" in DDPM_SETS
            else [
                *["results/memorisation.csv"][: len(cfg.synthetic_sets)],
                *of_others("metrics/generators/{generator}/memorisation.csv"),
            ]
        ),
        predictions=(
            [*CAS_RUNS, *of_others("cas/generators/{generator}/{classifier}.csv")]
            if len(CLASSES) > 1
            else []
        ),
    output:
        **result("generators", "generators", "images of several generators"),
    params:
        **SCORING,
        own=own_generator(cfg),
        reference="+".join(cfg.reference_sets),
    script:
        "../scripts/generators.py"
