# Index -> duplicates and groups -> split -> image sets.


rule index:
    """List every image with label, patient and digests, and find duplicates."""
    input:
        images=RAW.images,
        tables=RAW.challenge_tables if SOURCE.challenge else [],
    output:
        index="data/images/index.csv",
        links="data/images/duplicates.csv",
        counts="data/images/archives.csv",
    params:
        folder=FOLDER,
    script:
        "../scripts/index.py"


rule index_segmentation:
    """List the images with masks that the U-Net learns from, official training and test apart."""
    input:
        archives=list(RAW.isic2016.values()) if SOURCE.isic2016 else [],
        split=[] if SOURCE.isic2016 and STUDY else "data/images/split.csv",
    output:
        "data/segmentation/index.csv",
    script:
        "../scripts/index_segmentation.py"


rule split:
    """Divide images into training, validation and test sets, and undersample the larger classes."""
    input:
        "data/images/index.csv",
    output:
        "data/images/split.csv",
    priority: 2  # too few images of a class end the run early
    script:
        "../scripts/split.py"


rule image_sets:
    """Crop, resize and pack the images of every split and class."""
    input:
        split="data/images/split.csv",
        raw=RAW.images,
    output:
        arrays=image_sets(SPLITS),
        tables=rows_of(*SPLITS),
    script:
        "../scripts/image_sets.py"


rule augmented_set:
    """Change real images at random as those that a DDPM learns from."""
    input:
        "data/images/{split}/{cls}.npy",
    output:
        "data/images/augmented-{split}/{cls}.npy",
    script:
        "../scripts/augmented_set.py"


rule segmentation_sets:
    """Crop, resize and pack images with their masks, aligned."""
    input:
        index="data/segmentation/index.csv",
        raw=list(RAW.isic2016.values()) if SOURCE.isic2016 else RAW.images,
    output:
        arrays=paths.segmentation(["images", "masks"], "npy"),
        tables=paths.segmentation(["images", "masks"], "csv"),
    script:
        "../scripts/segmentation_sets.py"
