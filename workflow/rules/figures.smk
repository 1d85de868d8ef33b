# Pictures: what the image sets look like, and how the trainings went.


rule data_figures:
    """Show each class's images as published and in every image set (Figures 5.1, 5.2, 5.7-5.10)."""
    input:
        split="data/images/split.csv",
        raw=RAW.images,
        sets=image_sets(SPLITS),
    output:
        [picture(f"data/images-{cls}", f"{cls}: real images", "data") for cls in CLASSES],
    script:
        "../scripts/data_figures.py"


rule segmentation_figures:
    """Show the U-Net's images with their masks, and lesions from its worst to its best (Figure 5.19)."""
    input:
        checkpoint="models/unet.safetensors",
        images=paths.segmentation(["images"], "npy"),
        masks=paths.segmentation(["masks"], "npy"),
    output:
        masks=picture("data/segmentation", "images with masks"),
        examples=picture("extractors/segmentation", "lesions by the U-Net", "segmentation_examples"),
    script:
        "../scripts/segmentation_figures.py"


rule extractor_curves:
    """Draw loss, rate and validation scores of every extractor trained here (Figures 5.16-5.18)."""
    input:
        expand("models/{extractor}_history.csv", extractor=TRAINED),
    output:
        [conventions.curves(name) for name in TRAINED],
    script:
        "../scripts/extractor_curves.py"


rule ddpm_figures:
    """Show a DDPM's curves, previews (Figures 5.3, 5.4, 5.12, 5.13), denoising (5.5) and samples."""
    input:
        checkpoint=paths.ddpm(".safetensors"),
        history=paths.ddpm("_history.csv"),
        previews=paths.ddpm("_previews.npy"),
        samples="data/images/synthetic/{cls}.npy",
    output:
        curves=picture("ddpm/{cls}_curves", "{cls}: loss and learning rate", "training"),
        previews=picture("ddpm/{cls}_previews", "{cls}: images over the training", "previews"),
        denoising=picture("ddpm/{cls}_denoising", "{cls}: from noise to images", "denoising"),
        samples=shown("results/samples/{cls}.png", "Images", "samples", figure="{cls}: samples"),
    script:
        "../scripts/ddpm_figures.py"


rule report_page:
    """One page of the run, the answer first: of everything, or of what is made if asked for alone."""
    input:
        lambda wildcards: targets.page_inputs(cfg, MEASURES, session.targets_of(workflow)),
    output:
        shown("results/report.html", "The page", "report_page", shows="all of this on one page"),
    params:
        published=[] if cfg.data.source == "folder" else REPORTED,
    script:
        "../scripts/report_page.py"


rule drawings:
    """Draw nets, forward process and scores from the configuration (Figures 1.4, 2.1-2.5, 4.1-4.3)."""
    input:
        real=image_sets(["train"]),
        synthetic=image_sets(["synthetic"]),
    output:
        **{name: conventions.drawing(name) for name in drawings_of(TRAINED)},
    script:
        "../scripts/drawings.py"


rule figures:
    """Every figure of the study by number, in a gallery."""
    input:
        [each.path for each in figures_of(CLASSES, TRAINED, [*DDPMS])],
    output:
        shown("results/figures/gallery.html", "Drawings", "gallery", shows="every figure"),
    script:
        "../scripts/gallery.py"
