"""Names of metrics, nets and classifiers as people write them."""

NAMES = {"unet": "U-Net", "skinlesnet": "SkinLesNet", "resnet50": "ResNet50",
         "hog_svm": "HOG and SVM", "ddpm": "DDPM", "inception": "Inception",
         "radimagenet": "RadImageNet", "dinov2": "DINOv2", "clip": "CLIP", "fid": "FID",
         "kid": "KID", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "cafd": "CAFD", "dice": "Dice",
         "iou": "IoU", "f1": "F1"}  # fmt: skip
"""Those that are not written as they stand."""


def name_of(name: str) -> str:
    """Return a name as people write it: `ms_ssim` as MS-SSIM, `black_background` in two words."""
    return NAMES.get(name, name.replace("_", " "))
