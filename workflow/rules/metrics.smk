# Image sets compared: FID of features, SSIM and MS-SSIM over all pairs, Table 5.2.

SCORED = ["synthetic", "noise"] + ([] if STUDY else ["train"])


rule noise:
    """Draw noise with each class's channel means and variances: the ceiling of every FID."""
    input:
        lesions(REFERENCE_SETS, CLASSES),
    output:
        expand("data/lesions/noise/{cls}.npy", cls=CLASSES),
    log:
        "logs/noise.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("noise.py"),
        classes=CLASSES,
        images=cfg.sampling.images,
        seed=cfg.seed,
    script:
        "../scripts/noise.py"


rule fid:
    """Compute one extractor's FID of every image set and class against real images."""
    input:
        reference=expand(
            "features/{{extractor}}/{set}/{cls}.npy", set=REFERENCE_SETS, cls=CLASSES
        ),
        scored=expand("features/{{extractor}}/{set}/{cls}.npy", set=SCORED, cls=CLASSES),
    output:
        "metrics/fid/{extractor}.csv",
    log:
        "logs/fid/{extractor}.log",
    benchmark:
        "logs/fid/{extractor}.benchmark.tsv"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("fid.py"),
        classes=CLASSES,
    script:
        "../scripts/fid.py"


rule similarity:
    """Compute SSIM and MS-SSIM over all pairs of one class's synthetic or real images."""
    input:
        lambda wildcards: lesions(
            ["synthetic"] if wildcards.images == "synthetic" else DDPM_SETS
        ),
    output:
        "metrics/similarity/{images}/{cls}.csv",
    log:
        "logs/similarity/{images}-{cls}.log",
    benchmark:
        "logs/similarity/{images}-{cls}.benchmark.tsv"
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        code=code("similarity.py"),
        settings=cfg.metrics.model_dump(),
    script:
        "../scripts/similarity.py"


rule table_5_2:
    """Table 5.2: SSIM, MS-SSIM and FID of each class, with noise and real images beside them."""
    input:
        fid=expand("metrics/fid/{extractor}.csv", extractor=EXTRACTORS),
        similarity=expand(
            "metrics/similarity/{images}/{cls}.csv",
            images=["synthetic", "real"],
            cls=CLASSES,
        ),
        weights="models/resnet50_weights.txt",
    output:
        table=report(
            "results/table_5_2.csv",
            caption="../report/table_5_2.rst",
            category="Tables",
            labels={"table": "5.2", "shows": "quality of the synthetic images"},
        ),
        metrics="results/metrics/table_5_2.json",
        record="results/table_5_2.json",
    log:
        "logs/table_5_2.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("table_5_2.py"),
        reference="+".join(REFERENCE_SETS),
        notes={} if HAS_MASKS else NO_MASKS,
        stamp=STAMP,
    script:
        "../scripts/table_5_2.py"
