# Image sets compared: FID and KID of features, SSIM and MS-SSIM of pairs; Table 5.2, matrices.

MEASURES = [*PAIRS, *expand("{d}_{e}", d=DISTANCES, e=EXTRACTORS)]
ANSWERS = sorted(map(str, Path("reader_study/answers").glob("*.json")))


rule noise:
    """Draw noise with each class's channel means and variances: the ceiling of every FID."""
    input:
        image_sets(paths.compared(cfg.reference_sets)),
    output:
        image_sets(["noise"]),
    script:
        "../scripts/noise.py"


rule features:
    """Compute the features of all images that Table 5.2 compares."""
    input:
        checkpoint=paths.extractor,
        images=image_sets(paths.compared(SCORED_SETS)),
    output:
        features(SCORED_SETS),
    script:
        "../scripts/features.py"


use rule features as features_of_set with:
    input:
        checkpoint=paths.extractor,
        images=lambda w: image_sets(paths.compared([w.set])),
    output:
        features(["{set}"]),


rule distances:
    """Compare the features of every image set and class with those of real images."""
    input:
        reference=features(cfg.reference_sets),
        scored=features(SCORED),
        checkpoint=paths.extractor,
    output:
        "metrics/distances/{extractor}.csv",
    script:
        "../scripts/distances.py"


rule similarity:
    """Compute SSIM and MS-SSIM over all pairs of a class's images, synthetic or real."""
    input:
        lambda w: image_sets(["synthetic"] if w.images == "synthetic" else DDPM_SETS),
    output:
        "metrics/similarity/{images}.csv",
    script:
        "../scripts/similarity.py"


rule table_5_2:
    """Table 5.2: SSIM, MS-SSIM and FID of each class, with noise and real images beside them."""
    input:
        distances=expand("metrics/distances/{extractor}.csv", extractor=EXTRACTORS),
        similarity=expand("metrics/similarity/{images}.csv", images=[*cfg.synthetic_sets, "real"]),
    output:
        **result("table_5_2", "5.2", "quality of the synthetic images"),
    script:
        "../scripts/table_5_2.py"


rule distance_matrix:
    """FID and KID of every two image sets and classes, at the same number of images."""
    input:
        features(MATRIX_SETS),
    output:
        **dict(zip(DISTANCES, matrices(f"{name}_{{extractor}}" for name in DISTANCES))),
    script:
        "../scripts/distance_matrix.py"


rule similarity_matrix:
    """Mean SSIM or MS-SSIM between every two image sets and classes, and within each."""
    input:
        image_sets(MATRIX_SETS),
    output:
        **dict(zip(PAIRS, matrices(PAIRS))),
    script:
        "../scripts/similarity_matrix.py"


rule matrix_figures:
    """Draw every matrix of image sets as a heat map."""
    input:
        expand("results/matrices/{measure}.csv", measure=MEASURES),
    output:
        matrices(MEASURES, "png"),
    script:
        "../scripts/matrix_figures.py"


rule memorisation:
    """Compare synthetic images' nearest training images with those of held-out real images."""
    input:
        **paths.copies(),
        ddpms=paths.ddpms(),
    output:
        table=table("results/memorisation.csv", "memorisation", "copies of training images"),
        figure=picture("memorisation", "synthetic and nearest training images"),
    script:
        "../scripts/memorisation.py"


rule likelihood:
    """Measure the likelihood of training and unseen images under the DDPMs, in bits per dimension."""
    input:
        training=image_sets(DDPM_SETS, list(DDPMS)),
        unseen=image_sets(UNLEARNT, list(DDPMS)),
        ddpms=paths.ddpms(),
    output:
        table("results/likelihood.csv", "likelihood", "bits per dimension under the DDPMs"),
    script:
        "../scripts/likelihood.py"


rule reader_study:
    """Score readers who told synthetic from real images, asked by `meddiff readers make`."""
    input:
        key="reader_study/key.csv",
        answers=ANSWERS,
    output:
        table=table("results/reader_study.csv", "reader study", "readers on synthetic images"),
        images="results/reader_study_images.csv",
    script:
        "../scripts/reader_study.py"


rule comparison:
    """Set the tables of this run, and of every other beside it, by the study's printed numbers."""
    input:
        expand("results/{table}.csv", table=COMPARED if CLASSIFIERS else ["table_5_2"]),
    output:
        table("results/comparison.csv", "all", "runs beside the study's numbers"),
    params:
        reported=REPORTED,
        others=lambda wildcards: sections.other_tables(ROOT, Path.cwd(), COMPARED),
    script:
        "../scripts/comparison.py"
