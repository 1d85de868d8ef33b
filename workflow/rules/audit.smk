# The data as a sceptical reviewer would ask for them: labels, duplicates, leakage, encoding.


rule audit:
    """Every table and picture on the data; trains nothing."""
    input:
        expand("results/audit/{name}.csv", name=conventions.AUDITED),
        "results/audit/near_duplicates.png",


rule audit_tables:
    """Count images, duplicates and diagnoses; show the near duplicates that are least alike."""
    input:
        index="data/images/index.csv",
        links="data/images/duplicates.csv",
        counts="data/images/archives.csv",
        raw=RAW.images,
    output:
        **{name: audited(name) for name in ("archives", "overlap", "labels")},
        near=shown("results/audit/near_duplicates.png", AUDIT, figure="worst near-duplicate pairs"),
    script:
        "../scripts/audit_tables.py"


rule audit_leakage:
    """Count what crosses from training to test under both protocols."""
    input:
        index="data/images/index.csv",
        segmentation="data/segmentation/index.csv" if "unet" in TRAINED else [],
    output:
        **{name: audited(name) for name in ("leakage", "copies")},
    script:
        "../scripts/audit_leakage.py"


rule audit_encoding:
    """Predict random labels, and the real ones, from how the files were encoded."""
    input:
        split="data/images/split.csv",
        raw=RAW.images,
    output:
        audited("encoding"),
    script:
        "../scripts/audit_encoding.py"


rule audit_halves:
    """FID and KID between two halves of each class's real images: what chance alone makes of them."""
    input:
        checkpoints=expand("models/{extractor}.safetensors", extractor=TRAINED),
        images=image_sets(DDPM_SETS),
    output:
        audited("halves"),
    script:
        "../scripts/audit_halves.py"


rule audit_trainings:
    """Train the positive class's DDPM for a short time, with and without the study's faults."""
    input:
        images=f"data/images/train/{CLASSES[-1]}.npy",
        validation=f"data/images/validation/{CLASSES[-1]}.npy",
    output:
        audited("trainings"),
    script:
        "../scripts/audit_trainings.py"
