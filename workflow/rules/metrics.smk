# Image sets compared: FID and KID of features, SSIM and MS-SSIM of pairs; Table 5.2, matrices.

# Beside synthetic images and noise, real images that no DDPM learns from, if there are any.
SCORED = ["synthetic", "noise", *([cfg.unseen_set] if cfg.unseen_set else [])]
MATRIX_SETS = ["train", "test", "synthetic", "noise"]
MEASURES = [*PAIRS, *expand("{d}_{e}", d=DISTANCES, e=EXTRACTORS)]


rule noise:
    """Draw noise with each class's channel means and variances: the ceiling of every FID."""
    input:
        image_sets(compared(REFERENCE_SETS), CLASSES),
    output:
        expand("data/images/noise/{cls}.npy", cls=CLASSES),
    params:
        classes=CLASSES,
        images=cfg.sampling.images,
        seed=cfg.seed,
    script:
        "../scripts/noise.py"


rule distances:
    """Compare the features of every image set and class with those of real images."""
    input:
        reference=expand(
            "features/{{extractor}}/{set}/{cls}.npy", set=REFERENCE_SETS, cls=CLASSES
        ),
        scored=expand("features/{{extractor}}/{set}/{cls}.npy", set=SCORED, cls=CLASSES),
        checkpoint=extractor_checkpoint,
    output:
        "metrics/distances/{extractor}.csv",
    params:
        classes=CLASSES,
        # A class's rows follow from its own features alone (meddiff verify).
        per_class=True,
        n_resamples=cfg.metrics.n_resamples,
        seed=cfg.seed,
    script:
        "../scripts/distances.py"


rule similarity:
    """Compute SSIM and MS-SSIM over all pairs of one class's synthetic or real images."""
    input:
        lambda wildcards: image_sets(
            ["synthetic"] if wildcards.images == "synthetic" else DDPM_SETS
        ),
    output:
        "metrics/similarity/{images}/{cls}.csv",
    resources:
        runtime=240,
    params:
        settings=cfg.metrics.model_dump(exclude={"reference", "augment_real"}),
        seed=cfg.seed,
    script:
        "../scripts/similarity.py"


rule table_5_2:
    """Table 5.2: SSIM, MS-SSIM and FID of each class, with noise and real images beside them."""
    input:
        distances=expand("metrics/distances/{extractor}.csv", extractor=EXTRACTORS),
        similarity=expand(
            "metrics/similarity/{images}/{cls}.csv",
            images=["synthetic", "real"],
            cls=CLASSES,
        ),
    output:
        table=report(
            "results/table_5_2.csv",
            caption="../report/table_5_2.rst",
            category="Tables",
            labels={"table": "5.2", "shows": "quality of the synthetic images"},
        ),
        metrics="results/metrics/table_5_2.json",
        record="results/table_5_2.json",
    params:
        reference="+".join(REFERENCE_SETS),
        notes=NO_MASKS,
        stamp=STAMP,
    script:
        "../scripts/table_5_2.py"


rule distance_matrix:
    """FID and KID of every two image sets and classes, at the same number of images."""
    input:
        expand("features/{{extractor}}/{set}/{cls}.npy", set=MATRIX_SETS, cls=CLASSES),
    output:
        **{
            distance: report(
                f"results/matrices/{distance}_{{extractor}}.csv",
                caption="../report/matrices.rst",
                category="Matrices",
                labels={
                    "measure": distance,
                    "extractor": "{extractor}",
                    "as": "table",
                },
            )
            for distance in DISTANCES
        },
    params:
        images=cfg.sampling.images,
        n_resamples=cfg.metrics.n_resamples,
        stamp=STAMP,
    script:
        "../scripts/distance_matrix.py"


rule similarity_matrix:
    """Mean SSIM or MS-SSIM between every two image sets and classes, and within each."""
    input:
        image_sets(MATRIX_SETS, CLASSES),
    output:
        report(
            "results/matrices/{similarity}.csv",
            caption="../report/matrices.rst",
            category="Matrices",
            labels={"measure": "{similarity}", "extractor": "", "as": "table"},
        ),
    resources:
        runtime=240,
    params:
        window=lambda wildcards: cfg.metrics.model_dump().get(wildcards.similarity, {}),
        images=cfg.sampling.images,
        n_resamples=cfg.metrics.n_resamples,
        stamp=STAMP,
    script:
        "../scripts/similarity_matrix.py"


rule matrix_figures:
    """Draw every matrix of image sets as a heat map."""
    input:
        expand("results/matrices/{measure}.csv", measure=MEASURES),
    output:
        [
            report(
                f"results/matrices/{measure}.png",
                caption="../report/matrices.rst",
                category="Matrices",
                labels={"measure": measure, "extractor": "", "as": "heat map"},
            )
            for measure in MEASURES
        ],
    script:
        "../scripts/matrix_figures.py"


rule memorisation:
    """Compare synthetic images' nearest training images with those of held-out real images."""
    input:
        training=image_sets(DDPM_SETS, CLASSES),
        synthetic=image_sets(["synthetic"], CLASSES),
        unseen=image_sets(["test"], CLASSES),
    output:
        table=report(
            "results/memorisation.csv",
            caption="../report/memorisation.rst",
            category="Tables",
            labels={"table": "memorisation", "shows": "copies of training images"},
        ),
        figure=report(
            "results/figures/memorisation.png",
            caption="../report/memorisation.rst",
            category="Images",
            labels={"class": "all", "figure": "synthetic and nearest training images"},
        ),
    params:
        classes=CLASSES,
        stamp=STAMP,
    script:
        "../scripts/memorisation.py"


rule comparison:
    """Set the tables of this run, and of every other beside it, by the study's printed numbers."""
    input:
        expand("results/{table}.csv", table=COMPARED),
    output:
        report(
            "results/comparison.csv",
            caption="../report/comparison.rst",
            category="Tables",
            labels={"table": "all", "shows": "runs beside the published values"},
        ),
    params:
        published=PRINTED,
        others=lambda wildcards: other_tables(),
    script:
        "../scripts/comparison.py"
