# The data as a sceptical reviewer would ask for them: labels, duplicates, leakage, encoding.

AUDITED = {
    "archives": "what is listed, there and used",
    "labels": "diagnoses under each label policy",
    "overlap": "images of an edition again in another",
    "leakage": "images, lesions, patients across splits",
    "copies": "the same, with every image listed twice",
    "encoding": "labels predicted from encodings",
}
AUDIT = "Audit of the data"


rule audit:
    """Every table and picture on the data; trains nothing."""
    input:
        expand("results/audit/{name}.csv", name=AUDITED),
        "results/audit/near_duplicates.png",


rule audit_tables:
    """Count images, duplicates and diagnoses; show the near duplicates that are least alike."""
    input:
        index="data/images/index.csv",
        links="data/images/duplicates.csv",
        counts="data/images/archives.csv",
        raw=RAW.images,
    output:
        archives=audited("archives"),
        overlap=audited("overlap"),
        labels=audited("labels"),
        near=shown("results/audit/near_duplicates.png", AUDIT, figure="worst near-duplicate pairs"),
    params:
        pairs=cfg.audit.worst_pairs,
        stamp=DATA_STAMP,
    script:
        "../scripts/audit_tables.py"


rule audit_leakage:
    """Count what crosses from training to test under both protocols."""
    input:
        index="data/images/index.csv",
        segmentation="data/segmentation/index.csv" if "unet" in TRAINED else [],
    output:
        leakage=audited("leakage"),
        copies=audited("copies"),
    params:
        fractions=split_fractions(cfg.split),
        counts=cfg.kept,
        official=SOURCE.isic2016,
        ddpm_sets=cfg.diffusion.train_on,
        stamp=DATA_STAMP,
    script:
        "../scripts/audit_leakage.py"


rule audit_encoding:
    """Predict random labels, and the real ones, from how the files were encoded."""
    input:
        split="data/images/split.csv",
        raw=RAW.images,
    output:
        audited("encoding"),
    threads: WORKERS
    params:
        settings=cfg.audit.encoding.model_dump(),
        preprocessing=cfg.data.model_dump(include={"crop", "size"}),
        seed=cfg.seed,
        stamp=STAMP,
    script:
        "../scripts/audit_encoding.py"


rule audit_halves:
    """FID and KID between two halves of each class's real images: what chance alone makes of them."""
    input:
        checkpoints=expand("models/{extractor}.safetensors", extractor=TRAINED),
        images=image_sets(DDPM_SETS, CLASSES),
    output:
        shown("results/audit/halves.csv", AUDIT, table="halves", shows="distances by chance"),
    resources:
        gpu=GPU,
    params:
        **STAMPED,
        extractors=TRAINED,
        images=cfg.sampling.images,
        n_resamples=cfg.metrics.n_resamples,
    script:
        "../scripts/audit_halves.py"


rule audit_trainings:
    """Train the positive class's DDPM for a short time, with and without the study's faults."""
    input:
        images=f"data/images/train/{CLASSES[-1]}.npy",
        validation=f"data/images/validation/{CLASSES[-1]}.npy",
    output:
        shown("results/audit/trainings.csv", AUDIT, table="trainings", shows="faults of training"),
    resources:
        gpu=GPU,
    params:
        cls=CLASSES[-1],
        settings=cfg.diffusion.for_class(CLASSES[-1]).model_dump(),
        trainings=cfg.audit.trainings.model_dump(),
        stamp=STAMP,
    script:
        "../scripts/audit_trainings.py"
