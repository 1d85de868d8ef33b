# Nets whose features FID compares: training, what they say of test images, features of image sets.


rule pretrained_weights:
    """Find or fetch the published weights of a net; without required ones the run ends here."""
    input:
        lambda wildcards: cfg.extractors.files.get(wildcards.net, []),
    output:
        "models/pretrained/{net}.safetensors",
    priority: 2
    script:
        "../scripts/pretrained_weights.py"


rule train_unet:
    """Train the segmentation U-Net and score it on its test images."""
    input:
        images=paths.segmentation(["images"], "npy"),
        masks=paths.segmentation(["masks"], "npy"),
    output:
        checkpoint="models/unet.safetensors",
        history="models/unet_history.csv",
        predictions="predictions/unet.csv",
    priority: 1
    script:
        "../scripts/train_unet.py"


use rule train_unet as train_unet_transposed with:
    output:
        checkpoint="models/unet_transposed.safetensors",
        history="models/unet_transposed_history.csv",
        predictions="predictions/unet_transposed.csv",
    params:
        transposed=True,


rule train_classifier:
    """Train SkinLesNet, or ResNet50 from ImageNet's weights, and let it classify the test images."""
    input:
        **{name: image_sets([name]) for name in SPLITS},
        weights=paths.imagenet,
    output:
        checkpoint="models/{extractor}.safetensors",
        history="models/{extractor}_history.csv",
        predictions="predictions/{extractor}.csv",
    wildcard_constraints:
        extractor=one_of(CLASSIFIERS),
    priority: 1  # the longest after DDPMs
    script:
        "../scripts/train_classifier.py"


rule table_5_1:
    """Table 5.1: how well each extractor does on its test images."""
    input:
        classifiers=expand("predictions/{extractor}.csv", extractor=CLASSIFIERS),
        segmentation="predictions/unet.csv" if "unet" in TRAINED else [],
    output:
        **result("table_5_1", "5.1", "extractors on test images"),
    script:
        "../scripts/table_5_1.py"
