"""Your own images: any folder and a table, two or more classes, with and without masks."""

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from conftest import SMOKE, planned
from meddiff.data.phantom.dermoscopy import draw_lesion, sample_lesion, sample_view

pytestmark = pytest.mark.slow


def overlay(path, **data):
    path.write_text(yaml.safe_dump({"data": {"source": "folder", **data}}))
    return [SMOKE, path]


def test_three_classes_of_grey_images_with_patients_and_masks(snakemake, tmp_path):
    rows = []
    for folder in ("images/deep", "masks"):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(60):
        rng = np.random.default_rng(number)
        image, mask = draw_lesion(sample_lesion(rng, number % 3 == 2), sample_view(rng), (48, 64))
        name = f"case{number}"
        Image.fromarray(image).save(tmp_path / f"images/deep/{name}.jpeg")
        Image.fromarray(mask).convert("L").save(tmp_path / f"masks/{name}.png")
        rows.append(
            {
                "image": name,
                "what": ["nevus", "keratosis", "melanoma"][number % 3],
                "who": number // 6,
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    configs = overlay(
        tmp_path / "mine.yaml",
        classes=["nevus", "keratosis", "melanoma"],
        grey=True,
        folder={
            "name": "mine",
            "images": str(tmp_path / "images"),
            "table": str(tmp_path / "table.csv"),
            "masks": str(tmp_path / "masks"),
            "id_column": "image",
            "label_column": "what",
            "patient_column": "who",
        },
    )
    run = tmp_path / "run"
    snakemake(run, "all", configs=configs)
    quality = pd.read_csv(run / "results/table_5_2.csv")
    assert set(quality["class"]) == {"nevus", "keratosis", "melanoma", "mean"}
    assert (quality["data"] == "mine").all() and quality["value"].notna().all()
    assert set(quality["extractor"].dropna()) == {"unet", "skinlesnet", "resnet50"}
    for name in ("train", "synthetic", "noise"):
        assert np.load(run / f"data/images/{name}/nevus.npy").shape[1:] == (32, 32, 1)
    split = pd.read_csv(run / "data/images/split.csv").dropna(subset=["split"])
    assert (split.groupby("patient")["split"].nunique() == 1).all()
    trained = pd.read_csv(run / "data/segmentation/train/images.csv")["id"]
    assert set(trained) <= set(split.loc[split["split"] == "train", "id"])
    scores = pd.read_csv(run / "results/table_5_1.csv").set_index("extractor")
    assert scores.loc["skinlesnet", "class"] == "mean"
    assert len(scores.loc["skinlesnet", "confusion"].split("/")) == 3
    trained = pd.read_csv(run / "results/table_5_3.csv")
    recall = trained[trained["metric"].eq("recall") & trained["arm"].eq("real")]
    assert recall["class"].tolist() == ["nevus", "keratosis", "melanoma", "mean"]
    recalls = pd.read_csv(run / "results/verdict.csv").query("metric == 'recall'")
    assert set(recalls["class"]) == {"nevus", "keratosis", "melanoma"}

    def plan() -> dict[str, int]:
        return planned(snakemake(run, "all", "--dry-run", configs=configs).stdout)

    image = tmp_path / "images/deep/case7.jpeg"
    image.touch()
    assert plan() == {}
    everything = planned(snakemake(tmp_path / "new", "all", "--dry-run", configs=configs).stdout)
    whole = image.read_bytes()
    image.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    del everything["pretrained_weights"]
    assert plan() == everything
    image.write_bytes(whole)
    assert plan() == {}
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert plan() == {}


def test_real_images_without_masks(snakemake, real_images, tmp_path):
    configs = overlay(
        tmp_path / "mine.yaml",
        classes=["benign", "malignant"],
        folder={
            "name": "isic_uda1",
            "images": str(real_images / "images"),
            "table": str(real_images / "metadata.csv"),
            "id_column": "isic_id",
            "label_column": "benign_malignant",
        },
    )
    run = tmp_path / "run"
    snakemake(run, "results/table_5_2.csv", configs=configs)
    table = pd.read_csv(run / "results/table_5_2.csv")
    assert (table["data"] == "isic_uda1").all() and (table["scale"] == "smoke").all()
    unet = table[table["extractor"] == "unet"]
    assert len(unet) == 2 and unet["value"].isna().all()
    assert unet["note"].str.contains("data.folder.masks").all()
    assert table.loc[table["extractor"] != "unet", "value"].notna().all()
    index = pd.read_csv(run / "data/images/index.csv").set_index("id")
    assert index["duplicate_of"].dropna().to_dict() == {"ISIC_0000280": "ISIC_0000279"}
    assert len(index) == 211
