# Section 5.1: one DDPM of hand radiographs, its samples and their metrics.


rule hand:
    """The table and the pictures of section 5.1."""
    input:
        hand_outputs(),


rule section_5_1:
    """FID, SSIM and MS-SSIM of synthetic hand radiographs beside the published values."""
    input:
        weights="models/pretrained/radimagenet.safetensors",
        validation="data/hand/validation/hand.npy",
        training="data/hand/train/hand.npy",
        synthetic="data/hand/synthetic/hand.npy",
    output:
        table=report(
            "results/section_5_1.csv",
            caption="../report/section_5_1.rst",
            category="Tables",
            labels={"table": "section 5.1", "shows": "synthetic hand radiographs"},
        ),
        metrics="results/metrics/section_5_1.json",
        record="results/section_5_1.json",
    threads: cfg.compute.threads
    resources:
        gpu=GPU,
    params:
        code=extractor_code("section_5_1.py", "radimagenet"),
        settings=cfg.hand.diffusion.model_dump(include={"augmentation"}),
        seed=cfg.seed,
        metrics=cfg.hand.metrics.model_dump(),
        published=[row for row in PRINTED if row["table"] == "section_5_1"],
        stamp={**STAMP, "data": "phantom" if SOURCE == "phantom" else "mednist"},
    script:
        "../scripts/section_5_1.py"
