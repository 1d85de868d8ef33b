"""Names of metrics, nets and classifiers as people write them."""

import re

NAMES = {"unet": "U-Net", "skinlesnet": "SkinLesNet", "resnet50": "ResNet50",
         "hog_svm": "HOG and SVM", "ddpm": "DDPM", "inception": "Inception",
         "radimagenet": "RadImageNet", "dinov2": "DINOv2", "clip": "CLIP", "swav": "SwAV",
         "panderm": "PanDerm", "efficientnet_lite0": "EfficientNet-Lite0", "fid": "FID",
         "fid_infinity": "FID-infinity", "kid": "KID", "cmmd": "CMMD", "authpct": "AuthPct",
         "inception_score": "Inception Score", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "cafd": "CAFD",
         "roc_auc": "ROC AUC", "dice": "Dice", "iou": "IoU", "f1": "F1"}  # fmt: skip
"""Those that are not written as they stand."""
PATH = re.compile(r"[/:.]")
"""Part of a file's name, or of a model's of timm."""


def name_of(name: str) -> str:
    """Return a name as people write it: `ms_ssim` as MS-SSIM, `black_background` in two words.

    Names of files and of timm's models stay; of several words the first one is such a name.
    """
    first, space, rest = name.partition(" ")
    return name if PATH.search(name) else NAMES.get(first, first.replace("_", " ")) + space + rest
