# Pictures: what the image sets look like, and how the trainings went.

DRAWN_FIGURES = drawings_of(TRAINED)


rule data_figures:
    """Show each class's images as published and in every image set (Figures 5.1, 5.2, 5.7-5.10)."""
    input:
        split="data/images/split.csv",
        raw=RAW.images,
        sets=image_sets(SPLITS, CLASSES),
    output:
        [picture(f"data/images-{cls}", f"{cls}: real images", "data") for cls in CLASSES],
    params:
        classes=CLASSES,
    script:
        "../scripts/data_figures.py"


rule segmentation_figures:
    """Show the U-Net's images with their masks, and lesions from its worst to its best (Figure 5.19)."""
    input:
        checkpoint="models/unet.safetensors",
        images=segmentation(["images"], "npy"),
        masks=segmentation(["masks"], "npy"),
    output:
        masks=picture("data/segmentation", "images with masks"),
        examples=picture(
            "extractors/segmentation", "lesions found by the U-Net", "segmentation_examples"
        ),
    resources:
        gpu=GPU,
    script:
        "../scripts/segmentation_figures.py"


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


rule ddpm_figures:
    """Show a DDPM's curves, previews (Figures 5.3, 5.4, 5.12, 5.13), denoising (5.5) and samples."""
    input:
        checkpoint=ddpm(".safetensors"),
        history=ddpm("_history.csv"),
        previews=ddpm("_previews.npy"),
        samples="data/images/synthetic/{cls}.npy",
    output:
        curves=picture("ddpm/{cls}_curves", "{cls}: loss and learning rate", "training"),
        previews=picture("ddpm/{cls}_previews", "{cls}: images over the training", "previews"),
        denoising=picture("ddpm/{cls}_denoising", "{cls}: from noise to images", "denoising"),
        samples=shown(
            "results/samples/{cls}.png", "Images", "samples", figure="{cls}: synthetic images"
        ),
    resources:
        gpu=GPU,
    params:
        settings=SAMPLER,
        drawn=list(DDPMS) if cfg.diffusion.conditional else [],
        every=cfg.diffusion.validation_every,
        seed=cfg.seed,
    script:
        "../scripts/ddpm_figures.py"


rule report_page:
    """One page of the run, the answer first: of everything, or of what is made if asked for alone."""
    input:
        lambda wildcards: page_inputs(
            cfg, MEASURES, AUDITED, workflow.dag_settings.targets if MAIN else None
        ),
    output:
        shown("results/report.html", "The page", "report_page", shows="all of this on one page"),
    params:
        **STAMPED,
        published=[] if cfg.data.source == "folder" else REPORTED,
        templates=folder_digest(PACKAGE / "reporting/templates"),
    script:
        "../scripts/report_page.py"


rule drawings:
    """Draw nets, forward process and scores from the configuration (Figures 1.4, 2.1-2.5, 4.1-4.3)."""
    input:
        real=image_sets(["train"], CLASSES),
        synthetic=image_sets(["synthetic"], CLASSES),
    output:
        **{
            name: shown(
                f"results/figures/drawings/{name}.svg", "Drawings", "drawings", figure=name
            )
            for name in DRAWN_FIGURES
        },
    params:
        **SEEDED,
        size=cfg.data.size,
        channels=1 if cfg.data.is_grey else 3,
        schedule=cfg.diffusion.schedule.model_dump(),
        network=cfg.diffusion.network.model_dump(),
        unet=cfg.extractors.unet.channels,
        nets=["ddpm", *TRAINED],
    script:
        "../scripts/drawings.py"


rule figures:
    """Every figure of the study by number, in a gallery."""
    input:
        [each.path for each in figures_of(CLASSES, TRAINED)],
    output:
        shown("results/figures/gallery.html", "Drawings", "gallery", shows="every figure"),
    params:
        **STAMPED,
        trained=TRAINED,
        templates=folder_digest(PACKAGE / "reporting/templates"),
    script:
        "../scripts/gallery.py"
