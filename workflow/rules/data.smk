# Raw archives (drawn or downloaded) -> index -> split -> image sets.


rule draw_kaggle:
    """Draw phantom lesions and write them as Kaggle delivers the study's three editions."""
    output:
        kaggle_archives("phantom"),
    log:
        "logs/draw_kaggle.log",
    benchmark:
        "logs/draw_kaggle.benchmark.tsv"
    threads: cfg.compute.threads
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code("draw_kaggle.py"),
        editions=cfg.data.phantom.model_dump(
            include={"editions", "exact_duplicates", "near_duplicates"}
        ),
        seed=cfg.seed,
    script:
        "../scripts/draw_kaggle.py"


rule draw_isic2016:
    """Draw phantom lesions with masks and write them as the ISIC archive delivers 2016 Part 1."""
    output:
        **isic2016_archives("phantom"),
    log:
        "logs/draw_isic2016.log",
    threads: cfg.compute.threads
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code("draw_isic2016.py"),
        counts=cfg.data.phantom.model_dump(
            include={"segmentation_train", "segmentation_test"}
        ),
        seed=cfg.seed,
    script:
        "../scripts/draw_isic2016.py"


rule draw_mednist:
    """Draw phantom hand radiographs and write them as MedNIST is published."""
    output:
        mednist_archive("phantom"),
    log:
        "logs/draw_mednist.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("draw_mednist.py"),
        hands=cfg.data.phantom.hands,
        seed=cfg.seed,
    script:
        "../scripts/draw_mednist.py"


rule download_kaggle:
    """Download one edition of the study's images from Kaggle; needs credentials."""
    output:
        "data/raw/published/kaggle/{edition}.zip",
    log:
        "logs/download_kaggle/{edition}.log",
    retries: 2
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        code=code("download_kaggle.py"),
        dataset=lambda wildcards: cfg.data.downloads.kaggle[wildcards.edition],
    script:
        "../scripts/download_kaggle.py"


rule download_isic2016:
    """Download one archive of ISIC 2016 Part 1 and check its published MD5."""
    output:
        "data/raw/published/isic2016/{file}.zip",
    log:
        "logs/download_isic2016/{file}.log",
    retries: 2
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        code=code("download.py"),
        url=lambda wildcards: f"{cfg.data.downloads.isic_archive}/2016/{wildcards.file}.zip",
        md5=lambda wildcards: MD5[f"{wildcards.file}.zip"],
    script:
        "../scripts/download.py"


rule download_mednist:
    """Download MedNIST and check its published MD5."""
    output:
        mednist_archive("published"),
    log:
        "logs/download_mednist.log",
    retries: 2
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=code("download.py"),
        url=cfg.data.downloads.mednist,
        md5=MD5["MedNIST.tar.gz"],
    script:
        "../scripts/download.py"


rule index_lesions:
    """List every lesion image with label, patient and digests, and find duplicates."""
    input:
        raw_lesions(),
    output:
        "data/lesions/index.csv",
    log:
        "logs/index_lesions.log",
    benchmark:
        "logs/index_lesions.benchmark.tsv"
    threads: cfg.compute.threads
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        code=code("index_lesions.py"),
        editions=None if SOURCE == "folder" else EDITIONS,
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
    log:
        "logs/index_hand.log",
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        code=code("index_hand.py"),
    script:
        "../scripts/index_hand.py"


rule index_segmentation:
    """List the images with masks that the U-Net learns from, official training and test apart."""
    input:
        **(
            {"split": "data/lesions/split.csv"}
            if SOURCE == "folder"
            else isic2016_archives()
        ),
    output:
        "data/segmentation/index.csv",
    log:
        "logs/index_segmentation.log",
    threads: cfg.compute.threads
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=code("index_segmentation.py"),
        from_split=SOURCE == "folder",
    script:
        "../scripts/index_segmentation.py"


rule split:
    """Divide images into training, validation and test sets, and undersample the larger classes."""
    input:
        "data/{dataset}/index.csv",
    output:
        "data/{dataset}/split.csv",
    log:
        "logs/split/{dataset}.log",
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        code=code("split.py"),
        # Hand radiographs have no patients; the study split them at random.
        protocol=lambda wildcards: (
            "study" if wildcards.dataset == "hand" else cfg.protocol
        ),
        fractions=fractions,
        counts=lambda wildcards: (
            {} if wildcards.dataset == "hand" else cfg.undersample.counts
        ),
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
    log:
        "logs/image_set/{dataset}-{split}-{cls}.log",
    benchmark:
        "logs/image_set/{dataset}-{split}-{cls}.benchmark.tsv"
    threads: cfg.compute.threads
    resources:
        mem_mb=1500,
        runtime=120,
    params:
        code=code("image_set.py"),
        preprocessing=preprocessing,
    script:
        "../scripts/image_set.py"


rule segmentation_set:
    """Crop, resize and pack images with their masks, aligned."""
    input:
        index="data/segmentation/index.csv",
        raw=raw_lesions() if SOURCE == "folder" else list(isic2016_archives().values()),
    output:
        images="data/segmentation/{split}/images.npy",
        masks="data/segmentation/{split}/masks.npy",
        tables=expand(
            "data/segmentation/{{split}}/{kind}.csv", kind=["images", "masks"]
        ),
    log:
        "logs/segmentation_set/{split}.log",
    threads: cfg.compute.threads
    resources:
        mem_mb=1500,
        runtime=120,
    params:
        code=code("segmentation_set.py"),
        crop=cfg.data.crop,
        size=cfg.data.size,
    script:
        "../scripts/segmentation_set.py"


ruleorder: segmentation_set > image_set
