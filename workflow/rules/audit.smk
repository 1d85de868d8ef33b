# The data as a sceptical reviewer would ask for them: labels, duplicates, leakage, encoding.

AUDITED = ["labels", "duplicates", "leakage", "encoding"]


rule audit:
    """Every table and picture on the data; trains nothing."""
    input:
        expand("results/audit/{name}.csv", name=AUDITED),
        "results/audit/near_duplicates.png",


rule audit_duplicates:
    """Count images of each edition that stand in each edition, and images of each diagnosis."""
    input:
        index="data/images/index.csv",
        links="data/images/duplicates.csv",
    output:
        duplicates=report(
            "results/audit/duplicates.csv",
            caption="../report/audit_duplicates.rst",
            category="Audit of the data",
            labels={
                "table": "duplicates",
                "shows": "images of an edition again in another",
            },
        ),
        labels=report(
            "results/audit/labels.csv",
            caption="../report/audit_labels.rst",
            category="Audit of the data",
            labels={"table": "labels", "shows": "diagnoses under each label policy"},
        ),
    params:
        stamp=DATA_STAMP,
    script:
        "../scripts/audit_duplicates.py"


rule audit_leakage:
    """Split under both protocols and count what crosses from training to test."""
    input:
        lesions="data/images/index.csv",
        segmentation="data/segmentation/index.csv" if HAS_MASKS else [],
    output:
        report(
            "results/audit/leakage.csv",
            caption="../report/audit_leakage.rst",
            category="Audit of the data",
            labels={
                "table": "leakage",
                "shows": "images, lesions, patients across splits",
            },
        ),
    params:
        fractions=split_fractions(cfg.split),
        counts=cfg.kept,
        seed=cfg.seed,
        official=SOURCE != "folder",
        stamp=DATA_STAMP,
    script:
        "../scripts/audit_leakage.py"


rule audit_encoding:
    """Try to tell random labels, and the real ones, from how the files were encoded."""
    input:
        split="data/images/split.csv",
        raw=lesion_archives(),
    output:
        report(
            "results/audit/encoding.csv",
            caption="../report/audit_encoding.rst",
            category="Audit of the data",
            labels={"table": "encoding", "shows": "labels told from encodings"},
        ),
    threads: cfg.compute.threads
    params:
        settings=cfg.audit.encoding.model_dump()
        | cfg.data.model_dump(include={"crop", "size"}),
        seed=cfg.seed,
        stamp=STAMP,
    script:
        "../scripts/audit_encoding.py"


rule near_duplicates_figure:
    """Show the near-duplicate pairs that are least alike, where a false one would be."""
    input:
        index="data/images/index.csv",
        links="data/images/duplicates.csv",
        raw=lesion_archives(),
    output:
        report(
            "results/audit/near_duplicates.png",
            caption="../report/near_duplicates.rst",
            category="Audit of the data",
            labels={"figure": "worst near-duplicate pairs"},
        ),
    params:
        pairs=cfg.audit.worst_pairs,
    script:
        "../scripts/near_duplicates_figure.py"
