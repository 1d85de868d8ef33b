# The data as a sceptical reviewer would ask for them: labels, duplicates, leakage, encoding.

AUDITED = {
    "archives": "what is listed, there and used",
    "labels": "diagnoses under each label policy",
    "duplicates": "images of an edition again in another",
    "leakage": "images, lesions, patients across splits",
    "encoding": "labels predicted from encodings",
}
AUDIT = "Audit of the data"


rule audit:
    """Every table and picture on the data; trains nothing."""
    input:
        expand("results/audit/{name}.csv", name=AUDITED),
        "results/audit/near_duplicates.png",


rule audit_tables:
    """Count what is in the archives, duplicates, and diagnoses under each label policy."""
    input:
        index="data/images/index.csv",
        links="data/images/duplicates.csv",
        counts="data/images/archives.csv",
    output:
        archives=audited("archives"),
        duplicates=audited("duplicates"),
        labels=audited("labels"),
    params:
        stamp=DATA_STAMP,
    script:
        "../scripts/audit_tables.py"


rule audit_leakage:
    """Count what crosses from training to test under both protocols."""
    input:
        index="data/images/index.csv",
        segmentation="data/segmentation/index.csv" if HAS_MASKS else [],
    output:
        audited("leakage"),
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


rule near_duplicates_figure:
    """Show the near-duplicate pairs that are least alike, where a false one would be."""
    input:
        index="data/images/index.csv",
        links="data/images/duplicates.csv",
        raw=RAW.images,
    output:
        shown("results/audit/near_duplicates.png", AUDIT, figure="worst near-duplicate pairs"),
    params:
        pairs=cfg.audit.worst_pairs,
    script:
        "../scripts/near_duplicates_figure.py"
