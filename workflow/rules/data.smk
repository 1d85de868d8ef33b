# Index -> duplicates and groups -> split -> image sets.


rule index_lesions:
    """List every lesion image with label, patient and digests, and find duplicates."""
    input:
        images=lesion_archives(),
        tables=challenge_tables() if OF_CHALLENGE else [],
    output:
        index="data/images/index.csv",
        links="data/images/duplicates.csv",
    threads: cfg.compute.threads
    params:
        source=SOURCE,
        policy=None if SOURCE == "folder" else cfg.data.label_policy,
        folder=folder_params(),
        classes=CLASSES,
    script:
        "../scripts/index_lesions.py"


rule index_hand:
    """List the hand radiographs of section 5.1."""
    input:
        mednist_archive(),
    output:
        "data/hand/index.csv",
    script:
        "../scripts/index_hand.py"


rule index_segmentation:
    """List the images with masks that the U-Net learns from, official training and test apart."""
    input:
        archives=[] if SOURCE == "folder" else list(isic2016_archives().values()),
        split="data/images/split.csv" if SOURCE == "folder" or not STUDY else [],
    output:
        "data/segmentation/index.csv",
    # What lacks masks is told before anything is trained.
    priority: 1
    threads: cfg.compute.threads
    params:
        from_split=SOURCE == "folder",
    script:
        "../scripts/index_segmentation.py"


rule split:
    """Divide images into training, validation and test sets, and undersample the larger classes."""
    input:
        "data/{dataset}/index.csv",
    output:
        "data/{dataset}/split.csv",
    # Too few images of a class are told before anything is trained.
    priority: 1
    params:
        # Hand radiographs have no patients; the study split them at random.
        protocol=lambda wildcards: (
            "as_published" if wildcards.dataset == HAND else cfg.protocol
        ),
        fractions=fractions,
        counts=lambda wildcards: {} if wildcards.dataset == HAND else cfg.kept,
        classes=lambda wildcards: [HAND] if wildcards.dataset == HAND else CLASSES,
        seed=cfg.seed,
    script:
        "../scripts/split.py"


rule image_set:
    """Crop, resize and pack the images of one class and split."""
    input:
        split="data/{dataset}/split.csv",
        raw=raw_images,
    output:
        array="data/{dataset}/{split}/{cls}.npy",
        table="data/{dataset}/{split}/{cls}.csv",
    threads: cfg.compute.threads
    params:
        preprocessing=preprocessing,
    script:
        "../scripts/image_set.py"


rule segmentation_set:
    """Crop, resize and pack images with their masks, aligned."""
    input:
        index="data/segmentation/index.csv",
        raw=(
            lesion_archives()
            if SOURCE == "folder"
            else list(isic2016_archives().values())
        ),
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


ruleorder: segmentation_set > image_set
