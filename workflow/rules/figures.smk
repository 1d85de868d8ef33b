# Pictures: what the image sets look like, and how the trainings went.


rule image_sets_figure:
    """Show real and synthetic images of every class side by side."""
    input:
        real=lesions(["train"], CLASSES),
        synthetic=lesions(["synthetic"], CLASSES),
    output:
        report(
            "results/figures/image_sets.png",
            caption="../report/image_sets.rst",
            category="Images",
            labels={"class": "all", "figure": "real and synthetic images"},
        ),
    log:
        "logs/image_sets_figure.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("image_sets_figure.py"),
        classes=CLASSES,
    script:
        "../scripts/image_sets_figure.py"


rule training_figure:
    """Draw loss and learning rate of every DDPM and extractor."""
    input:
        expand("models/ddpm/{cls}_history.csv", cls=CLASSES),
        expand("models/{extractor}_history.csv", extractor=EXTRACTORS),
    output:
        report(
            "results/figures/training.png",
            caption="../report/training.rst",
            category="Training",
            labels={"figure": "loss and learning rate"},
        ),
    log:
        "logs/training_figure.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("training_figure.py"),
        titles=[f"DDPM {name}" for name in CLASSES] + EXTRACTORS,
    script:
        "../scripts/training_figure.py"


rule data_figure:
    """Show the images of a class as published and in every image set (Figures 5.1, 5.2, 5.7-5.10)."""
    input:
        split="data/{dataset}/split.csv",
        raw=raw_images,
        sets=data_sets,
    output:
        report(
            "results/figures/data/{dataset}-{cls}.png",
            caption="../report/data.rst",
            category="Images",
            labels={"class": "{cls}", "figure": "real images"},
        ),
    log:
        "logs/data_figure/{dataset}-{cls}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("data_figure.py"),
    script:
        "../scripts/data_figure.py"


rule segmentation_figure:
    """Show the images that the U-Net learns from, with the outlines of their masks."""
    input:
        images=expand("data/segmentation/{split}/images.npy", split=["train", "test"]),
        masks=expand("data/segmentation/{split}/masks.npy", split=["train", "test"]),
    output:
        report(
            "results/figures/data/segmentation.png",
            caption="../report/segmentation.rst",
            category="Images",
            labels={"class": "all", "figure": "images with masks"},
        ),
    log:
        "logs/segmentation_figure.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("segmentation_figure.py"),
    script:
        "../scripts/segmentation_figure.py"


rule ddpm_figure:
    """Show one DDPM's training: its curves and its previews (Figures 5.3, 5.4, 5.12, 5.13)."""
    input:
        history="models/ddpm/{cls}_history.csv",
        previews="models/ddpm/{cls}_previews.npy",
    output:
        curves=report(
            "results/figures/ddpm/{cls}_curves.png",
            caption="../report/training.rst",
            category="Training",
            labels={"class": "{cls}", "figure": "loss and learning rate"},
        ),
        previews=report(
            "results/figures/ddpm/{cls}_previews.png",
            caption="../report/previews.rst",
            category="Training",
            labels={"class": "{cls}", "figure": "images over the training"},
        ),
    log:
        "logs/ddpm_figure/{cls}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("ddpm_figure.py"),
        every=lambda wildcards: ddpm_settings(wildcards).validation_every,
    script:
        "../scripts/ddpm_figure.py"


rule denoising_figure:
    """Show how samples of one class come out of noise (Figure 5.5)."""
    input:
        "models/ddpm/{cls}.safetensors",
    output:
        report(
            "results/figures/ddpm/{cls}_denoising.png",
            caption="../report/denoising.rst",
            category="Images",
            labels={"class": "{cls}", "figure": "from noise to images"},
        ),
    log:
        "logs/denoising_figure/{cls}.log",
    threads: cfg.compute.threads
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=GPU,
    params:
        code=code("denoising_figure.py"),
        settings=sampler_settings,
        seed=cfg.seed,
    script:
        "../scripts/denoising_figure.py"


rule samples_figure:
    """Show the first synthetic images of one class."""
    input:
        synthetic,
    output:
        report(
            "results/samples/{cls}.png",
            caption="../report/samples.rst",
            category="Images",
            labels={"class": "{cls}", "figure": "synthetic images"},
        ),
    log:
        "logs/samples_figure/{cls}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("contact_sheet.py"),
    script:
        "../scripts/contact_sheet.py"
