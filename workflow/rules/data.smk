# Index -> duplicates and groups -> split -> image sets.


rule index:
    """List every image with label, patient and digests, and find duplicates."""
    input:
        images=image_archives(),
        tables=challenge_tables() if SOURCE.challenge else [],
    output:
        index="data/images/index.csv",
        links="data/images/duplicates.csv",
    threads: cfg.compute.threads
    params:
        source=cfg.data.source,
        policy=cfg.data.label_policy if SOURCE.challenge else None,
        grey=cfg.data.is_grey,
        folder=folder_params(),
        classes=CLASSES,
    script:
        "../scripts/index.py"


rule index_segmentation:
    """List the images with masks that the U-Net learns from, official training and test apart."""
    input:
        archives=list(isic2016_archives().values()) if SOURCE.isic2016 else [],
        split="data/images/split.csv" if not (SOURCE.isic2016 and STUDY) else [],
    output:
        "data/segmentation/index.csv",
    # What lacks masks ends the run before anything is trained.
    priority: 1
    threads: cfg.compute.threads
    params:
        from_split=not SOURCE.isic2016,
    script:
        "../scripts/index_segmentation.py"


rule split:
    """Divide images into training, validation and test sets, and undersample the larger classes."""
    input:
        "data/images/index.csv",
    output:
        "data/images/split.csv",
    # Too few images of a class end the run before anything is trained.
    priority: 1
    params:
        protocol=cfg.protocol,
        fractions=split_fractions(cfg.split),
        counts=cfg.kept,
        classes=CLASSES,
        seed=cfg.seed,
    script:
        "../scripts/split.py"


rule image_set:
    """Crop, resize and pack the images of one class and split."""
    input:
        split="data/images/split.csv",
        raw=image_archives(),
    output:
        array="data/images/{split}/{cls}.npy",
        table="data/images/{split}/{cls}.csv",
    threads: cfg.compute.threads
    params:
        preprocessing=preprocessing(),
    script:
        "../scripts/image_set.py"


rule augmented_set:
    """Change real images at random as those that a DDPM learns from."""
    input:
        "data/images/{split}/{cls}.npy",
    output:
        "data/images/augmented-{split}/{cls}.npy",
    params:
        augmentation=cfg.diffusion.model_dump(include={"augmentation"}),
        seed=cfg.seed,
    script:
        "../scripts/augmented_set.py"


rule segmentation_set:
    """Crop, resize and pack images with their masks, aligned."""
    input:
        index="data/segmentation/index.csv",
        raw=list(isic2016_archives().values()) if SOURCE.isic2016 else image_archives(),
    output:
        images="data/segmentation/{split}/images.npy",
        masks="data/segmentation/{split}/masks.npy",
        tables=expand(
            "data/segmentation/{{split}}/{kind}.csv", kind=["images", "masks"]
        ),
    threads: cfg.compute.threads
    params:
        preprocessing=cfg.data.model_dump(include={"crop", "size", "decoding"}),
    script:
        "../scripts/segmentation_set.py"
