# Classification accuracy score: train on synthetic, real or mixed images, test on real ones.

REPETITIONS = range(cfg.cas.seeds)
CAS_RUNS = [(arm, repetition) for arm in cfg.cas.arms for repetition in REPETITIONS]


rule cas:
    """Train SkinLesNet on one arm's images and let it classify the real test images."""
    input:
        real=lesions(["train"], CLASSES),
        synthetic=lesions(["synthetic"], CLASSES),
        validation=lesions(["validation"], CLASSES),
        test=lesions(["test"], CLASSES),
    output:
        "cas/{arm}-{repetition}.csv",
    log:
        "logs/cas/{arm}-{repetition}.log",
    benchmark:
        "logs/cas/{arm}-{repetition}.benchmark.tsv"
    threads: cfg.compute.threads
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=GPU,
    params:
        code=code("cas.py"),
        settings=cfg.cas.model_dump(exclude={"arms", "seeds"}),
        classes=CLASSES,
        seed=cfg.seed,
    script:
        "../scripts/cas.py"


rule table_5_3:
    """Table 5.3: a classifier trained on each arm, tested on real images."""
    input:
        [f"cas/{arm}-{repetition}.csv" for arm, repetition in CAS_RUNS],
    output:
        table=report(
            "results/table_5_3.csv",
            caption="../report/table_5_3.rst",
            category="Tables",
            labels={"table": "5.3", "shows": "training on synthetic images"},
        ),
        metrics="results/metrics/table_5_3.json",
        record="results/table_5_3.json",
    log:
        "logs/table_5_3.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("table_5_3.py"),
        classes=CLASSES,
        runs=CAS_RUNS,
        stamp=STAMP,
    script:
        "../scripts/table_5_3.py"
