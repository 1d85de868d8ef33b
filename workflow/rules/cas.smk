# Classification accuracy score: train on synthetic, real or mixed images, test on real ones.


rule cas_arms:
    """Train a classifier on every arm and let it classify real images held out of all."""
    input:
        real=lesions(["train"], CLASSES),
        real_rows=rows_of("train"),
        synthetic=lesions(["synthetic"], CLASSES),
        test=lesions(["test"], CLASSES),
        test_rows=rows_of("test"),
        validation=lesions(["validation"], CLASSES),
        validation_rows=rows_of("validation"),
        weights=lambda wildcards: (
            "models/imagenet_resnet50.safetensors"
            if KINDS[wildcards.classifier].imagenet
            else []
        ),
    output:
        "cas/{classifier}.csv",
    wildcard_constraints:
        classifier=one_of([*cfg.cas.classifiers, HOG_SVM]),
    threads: cfg.compute.threads
    resources:
        mem_mb=lambda wildcards: 16000 if wildcards.classifier == HOG_SVM else 6000,
        runtime="12h",
        gpu=lambda wildcards: 0 if wildcards.classifier == HOG_SVM else GPU,
    params:
        settings=cas_settings,
        repetitions=cfg.cas.seeds,
        equal_steps=not STUDY,
        classes=CLASSES,
        seed=cfg.seed,
    script:
        "../scripts/cas_arms.py"


rule table_5_3:
    """Table 5.3: nets trained on each arm, tested on real images."""
    input:
        cas_runs(cfg.cas.classifiers),
    output:
        table=report(
            "results/table_5_3.csv",
            caption="../report/table_5_3.rst",
            category="Tables",
            labels={"table": "5.3", "shows": "training on synthetic images"},
        ),
        metrics="results/metrics/table_5_3.json",
        record="results/table_5_3.json",
    params:
        classes=CLASSES,
        specificity=cfg.cas.specificity,
        replicates=cfg.metrics.replicates,
        stamp=STAMP,
    script:
        "../scripts/table_5_3.py"


use rule table_5_3 as cas_hog_svm with:
    input:
        cas_runs([HOG_SVM]),
    output:
        table=report(
            "results/cas_hog_svm.csv",
            caption="../report/cas_hog_svm.rst",
            category="Tables",
            labels={"table": "HOG and SVM", "shows": "training on synthetic images"},
        ),
        metrics="results/metrics/cas_hog_svm.json",
        record="results/cas_hog_svm.json",


use rule sample as more_samples with:
    output:
        "data/{dataset}/more/{cls}.npy",
    wildcard_constraints:
        dataset="images",
    params:
        settings=lambda wildcards: {
            **sampling_settings(wildcards),
            "images": cfg.cas.dose.images,
        },
        first=cfg.sampling.images,
        seed=cfg.seed,


rule cas_doses:
    """Train SkinLesNet on every dose of real and synthetic images; classify the test images."""
    input:
        real=lesions(["train"], CLASSES),
        real_rows=rows_of("train"),
        synthetic=lesions(["synthetic"], CLASSES),
        more=(
            lesions(["more"], CLASSES)
            if (cfg.cas.dose.images or 0) > cfg.sampling.images
            else []
        ),
        test=lesions(["test"], CLASSES),
        test_rows=rows_of("test"),
        validation=lesions(["validation"], CLASSES),
        validation_rows=rows_of("validation"),
    output:
        "cas/doses.csv",
    threads: cfg.compute.threads
    resources:
        runtime="1d",
        gpu=GPU,
    params:
        settings=dose_settings(),
        repetitions=cfg.cas.dose.seeds,
        classes=CLASSES,
        seed=cfg.seed,
    script:
        "../scripts/cas_doses.py"


rule dose_response:
    """What synthetic images add to parts of the real ones."""
    input:
        "cas/doses.csv",
    output:
        table=report(
            "results/dose_response.csv",
            caption="../report/dose_response.rst",
            category="Tables",
            labels={"table": "dose-response", "shows": "synthetic beside real images"},
        ),
        metrics="results/metrics/dose_response.json",
        record="results/dose_response.json",
    params:
        classes=CLASSES,
        fractions=cfg.cas.dose.fractions,
        ratios=cfg.cas.dose.ratios,
        specificity=cfg.cas.specificity,
        replicates=cfg.metrics.replicates,
        stamp=STAMP,
    script:
        "../scripts/dose_response.py"


rule cas_figures:
    """Draw scores of every arm, how far probabilities can be trusted, and the dose-response."""
    input:
        tables=["results/table_5_3.csv", "results/cas_hog_svm.csv"],
        doses="results/dose_response.csv",
        predictions=cas_runs([*cfg.cas.classifiers, HOG_SVM]),
    output:
        arms=report(
            "results/figures/cas/arms.png",
            caption="../report/table_5_3.rst",
            category="Training on synthetic images",
            labels={"figure": "arms"},
        ),
        reliability=report(
            "results/figures/cas/reliability.png",
            caption="../report/reliability.rst",
            category="Training on synthetic images",
            labels={"figure": "reliability"},
        ),
        doses=report(
            "results/figures/cas/dose_response.png",
            caption="../report/dose_response.rst",
            category="Training on synthetic images",
            labels={"figure": "dose-response"},
        ),
        curves="results/reliability.csv",
    params:
        classes=CLASSES,
        stamp=STAMP,
    script:
        "../scripts/cas_figures.py"


rule verdict:
    """Say in plain words whether synthetic images replace, complement or harm real ones here."""
    input:
        predictions=cas_runs([*cfg.cas.classifiers, HOG_SVM]),
        doses="results/dose_response.csv",
        test_rows=rows_of("test"),
        learnt_rows=rows_of(*dict.fromkeys(["train", *DDPM_SETS])),
        copies=[] if STUDY else "results/memorisation.csv",
    output:
        text="results/verdict.md",
        page=report(
            "results/verdict.html",
            caption="../report/verdict.rst",
            category="Verdict",
            labels={"shows": "are the synthetic images good enough to train on?"},
        ),
    params:
        classes=CLASSES,
        margin=cfg.cas.margin,
        imported=[name for name in CLASSES if name in IMPORTED],
        specificity=cfg.cas.specificity,
        replicates=cfg.metrics.replicates,
        stamp=STAMP,
    script:
        "../scripts/verdict.py"
