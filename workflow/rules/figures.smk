# Pictures: what the image sets look like, and how the trainings went.


rule image_sets_figure:
    """Show real and synthetic images of every class side by side."""
    input:
        real=image_sets(["train"], CLASSES),
        synthetic=image_sets(["synthetic"], CLASSES),
    output:
        picture("image_sets", "real and synthetic images"),
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
            picture(f"extractors/{name}_curves", f"{name}: losses and scores", "extractor_curves")
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
        picture("extractors/segmentation", "lesions found by the U-Net", "segmentation_examples"),
    resources:
        gpu=GPU,
    script:
        "../scripts/segmentation_examples.py"


rule data_figure:
    """Show the images of a class as published and in every image set (Figures 5.1, 5.2, 5.7-5.10)."""
    input:
        split="data/images/split.csv",
        raw=RAW.images,
        sets=image_sets(SPLITS),
    output:
        picture("data/images-{cls}", "{cls}: real images", "data"),
    script:
        "../scripts/data_figure.py"


rule segmentation_figure:
    """Show the images that the U-Net learns from, with the outlines of their masks."""
    input:
        images=segmentation(["images"], "npy"),
        masks=segmentation(["masks"], "npy"),
    output:
        picture("data/segmentation", "images with masks"),
    script:
        "../scripts/segmentation_figure.py"


rule ddpm_figure:
    """Show one DDPM's training: its curves and its previews (Figures 5.3, 5.4, 5.12, 5.13)."""
    input:
        history="models/ddpm/{cls}_history.csv",
        previews="models/ddpm/{cls}_previews.npy",
    output:
        curves=picture("ddpm/{cls}_curves", "{cls}: loss and learning rate", "training"),
        previews=picture("ddpm/{cls}_previews", "{cls}: images over the training", "previews"),
    params:
        every=cfg.diffusion.validation_every,
    script:
        "../scripts/ddpm_figure.py"


rule denoising_figure:
    """Show how samples of one class come out of noise (Figure 5.5)."""
    input:
        "models/ddpm/{cls}.safetensors",
    output:
        picture("ddpm/{cls}_denoising", "{cls}: from noise to images", "denoising"),
    resources:
        gpu=GPU,
    params:
        settings=SAMPLER,
        seed=cfg.seed,
    script:
        "../scripts/denoising_figure.py"


rule samples_figure:
    """Show the first synthetic images of one class."""
    input:
        "data/images/synthetic/{cls}.npy",
    output:
        shown("results/samples/{cls}.png", "Images", "samples", figure="{cls}: synthetic images"),
    script:
        "../scripts/samples_figure.py"
