# Classification accuracy score: train on synthetic, real or mixed images, test on real ones.

CAS_RUNS = expand("cas/{classifier}.csv", classifier=[*cfg.cas.classifiers, HOG_SVM])
# Real images with the tables of their rows, and the synthetic images, of every class.
CAS_SPLITS = {"real": "train", "test": "test", "validation": "validation"}
CAS_IMAGES = {name: image_sets([split], CLASSES) for name, split in CAS_SPLITS.items()}
CAS_IMAGES |= {f"{name}_rows": rows_of(split) for name, split in CAS_SPLITS.items()}
CAS_IMAGES["synthetic"] = image_sets(cfg.synthetic_sets, CLASSES)
MORE = (cfg.cas.dose.max_synthetic_per_class or 0) > cfg.sampling.images
CAS = "Training on synthetic images"
SCORING = {
    "classes": CLASSES,
    "specificity": cfg.cas.specificity,
    **RESAMPLED,
}


rule cas_arms:
    """Train a classifier on every arm and let it classify real images held out of all."""
    input:
        **CAS_IMAGES,
        weights=lambda wildcards: RESNET50 if wildcards.classifier == "resnet50" else [],
    output:
        "cas/{classifier}.csv",
    wildcard_constraints:
        classifier=one_of([*cfg.cas.classifiers, HOG_SVM]),
    resources:
        mem_mb=lambda wildcards: 16000 if wildcards.classifier == HOG_SVM else 8000,
        gpu=lambda wildcards: 0 if wildcards.classifier == HOG_SVM else GPU,
    params:
        **SEEDED,
        settings=lambda wildcards: cas_settings(cfg, wildcards.classifier),
        repetitions=cfg.cas.n_repeats,
        equal_steps=not STUDY,
        code=lambda wildcards: extractor_code("cas_arms.py", wildcards.classifier),
    script:
        "../scripts/cas_arms.py"


rule table_5_3:
    """Table 5.3: nets trained on each arm, tested on real images."""
    input:
        CAS_RUNS[:-1],
    output:
        **result("table_5_3", "5.3", "training on synthetic images"),
    params:
        **SCORING,
        imported=ORIGINS,
    script:
        "../scripts/table_5_3.py"


use rule table_5_3 as cas_hog_svm with:
    input:
        CAS_RUNS[-1:],
    output:
        **result("cas_hog_svm", "HOG and SVM", "training on synthetic images"),


use rule sample as more_samples with:
    output:
        "data/images/more/{cls}.npy",
    params:
        settings={**SAMPLER, "images": cfg.cas.dose.max_synthetic_per_class},
        first=cfg.sampling.images,
        seed=cfg.seed,


rule cas_doses:
    """Train SkinLesNet on every dose of real and synthetic images; classify the test images."""
    input:
        **CAS_IMAGES,
        more=image_sets(["more"], CLASSES) if MORE else [],
    output:
        "cas/doses.csv",
    resources:
        gpu=GPU,
    params:
        **SEEDED,
        settings=dose_settings(cfg),
        code=extractor_code("cas_doses.py", "skinlesnet"),
        repetitions=cfg.cas.dose.n_repeats,
    script:
        "../scripts/cas_doses.py"


rule dose_response:
    """What synthetic images add to parts of the real ones."""
    input:
        "cas/doses.csv",
    output:
        **result("dose_response", "dose-response", "synthetic beside real images"),
    params:
        **SCORING,
        fractions=cfg.cas.dose.fractions,
        ratios=cfg.cas.dose.ratios,
        imported=ORIGINS,
    script:
        "../scripts/dose_response.py"


rule cas_figures:
    """Draw scores of every arm, how far probabilities can be trusted, and the dose-response."""
    input:
        tables=["results/table_5_3.csv", "results/cas_hog_svm.csv"],
        doses="results/dose_response.csv",
        predictions=CAS_RUNS,
    output:
        arms=shown("results/figures/cas/arms.png", CAS, "table_5_3", figure="arms"),
        reliability=shown("results/figures/cas/reliability.png", CAS, figure="reliability"),
        doses=shown("results/figures/cas/dose_response.png", CAS, figure="dose-response"),
        curves="results/reliability.csv",
    params:
        **STAMPED,
    script:
        "../scripts/cas_figures.py"


rule verdict:
    """Judge whether synthetic images replace, complement or harm real ones here."""
    input:
        predictions=CAS_RUNS,
        learnt_rows=rows_of(*dict.fromkeys(["train", *DDPM_SETS])),
    output:
        table=table("results/verdict.csv", "verdict", "are the images good enough?"),
    params:
        **SCORING,
        margin=cfg.cas.non_inferiority_margin,
        imported=ORIGINS,
    script:
        "../scripts/verdict.py"
