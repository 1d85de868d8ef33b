# Pictures: what the image sets look like, and how the trainings went.


rule image_sets_figure:
    """Show real and synthetic images of every class side by side."""
    input:
        real=image_sets(["train"], CLASSES),
        synthetic=image_sets(["synthetic"], CLASSES),
    output:
        report(
            "results/figures/image_sets.png",
            caption="../report/image_sets.rst",
            category="Images",
            labels={"class": "all", "figure": "real and synthetic images"},
        ),
    params:
        classes=CLASSES,
    script:
        "../scripts/image_sets_figure.py"


rule extractor_curves:
    """Draw loss, rate and validation scores of every extractor trained here (Figures 5.16-5.18)."""
    input:
        expand("models/{extractor}_history.csv", extractor=TRAINED),
    output:
        [
            report(
                f"results/figures/extractors/{name}_curves.png",
                caption="../report/extractor_curves.rst",
                category="Training",
                labels={"class": name, "figure": "loss, learning rate and score"},
            )
            for name in TRAINED
        ],
    params:
        names=TRAINED,
        held_out={"unet": "test"},
    script:
        "../scripts/extractor_curves.py"


rule segmentation_examples:
    """Show lesions that the U-Net finds, from its worst test image to its best (Figure 5.19)."""
    input:
        checkpoint="models/unet.safetensors",
        images="data/segmentation/test/images.npy",
        masks="data/segmentation/test/masks.npy",
    output:
        report(
            "results/figures/extractors/segmentation.png",
            caption="../report/segmentation_examples.rst",
            category="Images",
            labels={"class": "all", "figure": "lesions found by the U-Net"},
        ),
    threads: cfg.compute.threads
    resources:
        gpu=GPU,
    script:
        "../scripts/segmentation_examples.py"


rule data_figure:
    """Show the images of a class as published and in every image set (Figures 5.1, 5.2, 5.7-5.10)."""
    input:
        split="data/images/split.csv",
        raw=image_archives(),
        sets=image_sets(SPLITS),
    output:
        report(
            "results/figures/data/images-{cls}.png",
            caption="../report/data.rst",
            category="Images",
            labels={"class": "{cls}", "figure": "real images"},
        ),
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
    params:
        every=cfg.diffusion.validation_every,
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
    threads: cfg.compute.threads
    resources:
        gpu=GPU,
    params:
        settings=sampler_settings(),
        seed=cfg.seed,
    script:
        "../scripts/denoising_figure.py"


rule samples_figure:
    """Show the first synthetic images of one class."""
    input:
        "data/images/synthetic/{cls}.npy",
    output:
        report(
            "results/samples/{cls}.png",
            caption="../report/samples.rst",
            category="Images",
            labels={"class": "{cls}", "figure": "synthetic images"},
        ),
    script:
        "../scripts/contact_sheet.py"
