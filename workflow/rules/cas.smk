# Classification accuracy score: train on synthetic, real or mixed images, test on real ones.

CAS_RUNS = expand("cas/{classifier}.csv", classifier=[*cfg.cas.classifiers, HOG_SVM])


rule cas_arms:
    """Train a classifier on every arm and let it classify real images held out of all."""
    input:
        **paths.cas_inputs(image_sets(cfg.synthetic_sets)),
    output:
        "cas/{classifier}.csv",
    resources:
        mem_mb=lambda wildcards: 16000 if wildcards.classifier == HOG_SVM else 8000,
        gpu=lambda wildcards: 0 if wildcards.classifier == HOG_SVM else GPU,
    script:
        "../scripts/cas_arms.py"


rule table_5_3:
    """Table 5.3: nets trained on each arm, tested on real images."""
    input:
        CAS_RUNS[:-1],
    output:
        **result("table_5_3", "5.3", "training on synthetic images"),
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
        settings=sections.sampler(cfg, cfg.cas.dose.max_synthetic_per_class),
        first=cfg.sampling.images,


rule cas_doses:
    """Train SkinLesNet on every dose of real and synthetic images; classify the test images."""
    input:
        **paths.cas_inputs(image_sets(cfg.synthetic_sets)),
        more=paths.more(),
    output:
        "cas/doses.csv",
    script:
        "../scripts/cas_doses.py"


rule dose_response:
    """What synthetic images add to parts of the real ones."""
    input:
        "cas/doses.csv",
    output:
        **result("dose_response", "dose-response", "synthetic beside real images"),
    script:
        "../scripts/dose_response.py"


rule cas_figures:
    """Draw scores of every arm, how far probabilities can be trusted, and the dose-response."""
    input:
        tables=["results/table_5_3.csv", "results/cas_hog_svm.csv"],
        doses="results/dose_response.csv",
        predictions=CAS_RUNS,
    output:
        arms=picture("cas/arms", "arms", "table_5_3"),
        reliability=picture("cas/reliability", "reliability"),
        doses=picture("cas/dose_response", "dose-response"),
        curves="results/reliability.csv",
    script:
        "../scripts/cas_figures.py"


rule verdict:
    """Judge whether synthetic images replace, complement or harm real ones here."""
    input:
        predictions=CAS_RUNS,
        learnt_rows=rows_of(*dict.fromkeys(["train", *DDPM_SETS])),
    output:
        table=table("results/verdict.csv", "verdict", "are the images good enough?"),
    script:
        "../scripts/verdict.py"
