"""The study's ten flaws, each measured: the number with it, and the number without."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from meddiff.metrics.classification import mean_intervals
from meddiff.reporting.names import name_of
from meddiff.reporting.reported import ReportedResult
from meddiff.reporting.study.runs import Run, first_with
from meddiff.reporting.study.text import ends, markdown, number

COLUMNS = ["measured", "printed", "as the study did", "without it", "images"]
PARTS = 8
"""Parts of a batch in the study, by which it divided its training loss once too often."""
HALF_SAMPLES = 200
MEANT = "gradients added up, constant rate"
VOID = "gradients of one part in each step"
PLATEAU = "rate halved on plateaus"
"""Treatments of `results/audit/trainings.csv`."""
Row = Mapping[str, str]


@dataclass(frozen=True)
class Sources:
    """Where the numbers are taken from: runs in order of preference, and the printed numbers."""

    runs: Sequence[Run]
    reported: Sequence[ReportedResult]

    def printed(self, table: str, column: str, **row: str) -> float:
        """Return one printed number of the study."""
        [value] = [
            float(each.values[column])
            for each in self.reported
            if each.table == table and row.items() <= each.row.items() and column in each.values
        ]
        return value


@dataclass(frozen=True)
class Flaw:
    """One of them: what the study did, the table that tells, and how its rows are read."""

    name: str
    did: str
    path: str
    rows: Callable[[pd.DataFrame, Run, Sources], Iterator[Row]]
    needs_table: bool = True


def flaw_parts(sources: Sources) -> list[str]:
    """Return the page's parts on the flaws."""
    parts = []
    for place, flaw in enumerate(FLAWS, 1):
        run, table = first_with(sources.runs, flaw.path)
        stamp = {} if table is None else run.stamp(flaw.path)
        of = f" (data {stamp['data']}, scale {stamp['scale']})" if stamp else ""
        origin = f"{run.name}{of}: `{run.command(flaw.path)}`"
        if table is None and flaw.needs_table:
            rows: list[Row] = [{"measured": "not run"}]
        else:
            read = pd.DataFrame() if table is None else table
            rows = list(flaw.rows(read, run, sources))
        parts += [f"### {place}. {flaw.name}", flaw.did, markdown(rows, COLUMNS), origin]
    return parts


def _row(measured: str, printed: object, texts: Iterable[str], images: object) -> Row:
    """Return a row; `texts` are the number with the flaw and the number without."""
    values = (measured, number(printed), *texts, number(images))
    return dict(zip(COLUMNS, values, strict=False))


def _treated(table: pd.DataFrame, treatment: str, values: pd.Series) -> str:
    """Return the mean of a treatment's seeds, with the smallest and the largest."""
    own = values[table["treatment"] == treatment]
    return number(own.mean()) + (ends(own.min(), own.max()) if len(own) > 1 else ", one seed")


def _accumulation(table: pd.DataFrame, run: Run, sources: Sources) -> Iterator[Row]:
    loss = table["validation_loss"]
    step = table.groupby("treatment")["images_per_step"].first()
    texts = [
        f"{_treated(table, name, loss)}, {step[name]} images per step" for name in (VOID, MEANT)
    ]
    name = f"loss of unseen images after {number(table['steps'].iloc[0])} steps"
    yield _row(name, None, texts, table["n_validation"].iloc[0])


def _division(table: pd.DataFrame, run: Run, sources: Sources) -> Iterator[Row]:
    ratio = table["validation_loss"] / table["loss"]
    texts = [_treated(table, MEANT, ratio * factor) for factor in (PARTS, 1)]
    images = table["n_validation"].iloc[0]
    yield _row("validation loss by training loss, as logged", "about 10", texts, images)


def _plateau(table: pd.DataFrame, run: Run, sources: Sources) -> Iterator[Row]:
    texts = [_treated(table, name, table["lr"]) for name in (PLATEAU, MEANT)]
    yield _row("learning rate at the end", "1e-06 by epoch 40", texts, table["n_real"].iloc[0])
    texts = [_treated(table, name, table["validation_loss"]) for name in (PLATEAU, MEANT)]
    yield _row("loss of unseen images", None, texts, table["n_validation"].iloc[0])


def _labels(table: pd.DataFrame, run: Run, sources: Sources) -> Iterator[Row]:
    counts = {
        policy: table.loc[table[f"malignant_by_{policy}"].eq(True), "n_images"].sum()
        for policy in ("melanoma", "malignant")
    }
    texts = map(number, counts.values())
    diagnosed = table.loc[table["malignant_by_melanoma"].notna(), "n_images"].sum()
    yield _row("malignant images, of those with a diagnosis", None, texts, diagnosed)


def _leaks(net: str) -> Callable[[pd.DataFrame, Run, Sources], Iterator[Row]]:
    def rows(table: pd.DataFrame, run: Run, sources: Sources) -> Iterator[Row]:
        counted = table[(table["net"] == net) & (table["unit"] == "image")].set_index("protocol")
        texts = [
            f"{number(row['share'])} ({number(row['n_leaked'])} of {number(row['n_test'])})"
            for row in (counted.loc["as_published"], counted.loc["leak_free"])
        ]
        images = counted.loc["as_published", "n_train"]
        yield _row(f"test images that the {name_of(net)} has learnt from", None, texts, images)

    return rows


def _encoding(table: pd.DataFrame, run: Run, sources: Sources) -> Iterator[Row]:
    scores = table[table["labels"] == "random"].set_index("treatment")
    printed = sources.printed("table_5_1", "accuracy", extractor="skinlesnet")
    texts = [
        number(scores.loc[name, "accuracy"]) + ends(*scores.loc[name, ["ci_low", "ci_high"]])
        for name in ("one label stretched and re-encoded", "as stored")
    ]
    images = scores["n_images"].iloc[0]
    yield _row("accuracy on random labels, chance 0.5", None, texts, images)
    if (quality := run.table("results/table_5_1.csv")) is not None:
        net = quality.set_index("extractor").loc["skinlesnet"]
        value = number(net["accuracy"]) + ends(net["accuracy_ci_low"], net["accuracy_ci_high"])
        name = "accuracy of SkinLesNet (Table 5.1)"
        yield _row(name, printed, ("", value), net["n_test"])


def _masks(table: pd.DataFrame, run: Run, sources: Sources) -> Iterator[Row]:
    upright = run.table("predictions/unet.csv")
    tables = {"transposed": table} | ({"upright": upright} if upright is not None else {})
    history = run.table("models/unet_transposed_history.csv")
    length = "" if history is None else f", {number(history['epoch'].max())} epochs"
    for score in ("dice", "iou"):
        texts = {}
        for key, scores in tables.items():
            mean = mean_intervals(scores, [score], n_resamples=HALF_SAMPLES, seed=0)[score]
            texts[key] = number(mean.value) + ends(mean.low, mean.high)
        name = f"{'Dice' if score == 'dice' else 'IoU'} on upright test masks{length}"
        both = texts["transposed"], texts.get("upright", "not run")
        yield _row(name, None, both, len(table))


def independent_accuracy(precision: float, recall: float) -> float:
    """Return the accuracy of predictions that do not depend on the labels.

    Of such predictions the precision is the share of positive images and the recall that of
    positive predictions.
    """
    return precision * recall + (1 - precision) * (1 - recall)


def _hog(table: pd.DataFrame, run: Run, sources: Sources) -> Iterator[Row]:
    values = {
        name: sources.printed("cas_hog_svm", "value", metric=name)
        for name in ("accuracy", "precision", "recall")
    }
    chance = independent_accuracy(values["precision"], values["recall"])
    scores = table
    if len(table):
        scores = table[(table["metric"] == "accuracy") & (table["arm"] == "real")]
    without = "not run"
    if len(scores):
        score = scores.iloc[0]
        without = f"{number(score['value'])}{ends(score['ci_low'], score['ci_high'])}, real images"
    studied = f"{number(chance)} follows from the printed precision and recall by chance alone"
    images = scores["n_test"].iloc[0] if len(scores) else None
    yield _row("accuracy of HOG and SVM", values["accuracy"], (studied, without), images)


def _bias(table: pd.DataFrame, run: Run, sources: Sources) -> Iterator[Row]:
    for key, rows in table.groupby(["extractor", "class"], sort=False):
        extractor, name = map(str, key)
        by_metric = rows.set_index("metric")
        fid, kid = (
            number(row["value"]) + ends(row["ci_low"], row["ci_high"])
            for row in (by_metric.loc["fid"], by_metric.loc["kid"])
        )
        printed = sources.printed(
            "table_5_2", "value", extractor=extractor, image_set="synthetic", metric="fid",
            **{"class": name},
        )  # fmt: skip
        size = number(by_metric["dimension"].iloc[0])
        measured = f"{name_of(extractor)}, {name}, {size} dimensions"
        images = f"2 x {by_metric['n_real'].iloc[0]}"
        yield _row(measured, printed, (f"FID {fid}", f"KID {kid}"), images)


TRAININGS = "results/audit/trainings.csv"
FLAWS = (
    Flaw(
        "Gradient accumulation was void",
        "Gradients were set to zero before each of the 8 parts of a batch: every step saw the 4 "
        "images of one part, not 32. The mean of the seeds, with the least and the largest.",
        TRAININGS,
        _accumulation,
    ),
    Flaw(
        "The training loss was divided by 8 once too often",
        "So the validation loss stood ten times above it.",
        TRAININGS,
        _division,
    ),
    Flaw(
        "The rate was halved until training ended",
        "The rate was halved when an epoch's training loss had not fallen for more than one epoch; "
        "such a loss is a mean over random times and noise, and does so by chance.",
        TRAININGS,
        _plateau,
    ),
    Flaw(
        "Malignant meant melanoma",
        "Basal cell carcinoma, squamous cell carcinoma and actinic keratosis counted as benign. "
        "Beside the study's labels those of its text.",
        "results/audit/labels.csv",
        _labels,
    ),
    Flaw(
        "Images stood in two editions",
        "ISIC 2019 holds the files of ISIC 2018, and the split was random. Here every image of one "
        "edition is listed twice, split at random, and by group.",
        "results/audit/copies.csv",
        _leaks("classifier"),
    ),
    Flaw(
        "The label could be read from the encoding",
        "Positive images were stretched to the full range and encoded as JPEG again, negative ones "
        "were not. Labels drawn at random can be predicted only from that.",
        "results/audit/encoding.csv",
        _encoding,
    ),
    Flaw(
        "Masks were transposed",
        "Rows and columns of the masks were exchanged, those of the images were not: the U-Net "
        "learnt lesions in mirrored places.",
        "predictions/unet_transposed.csv",
        _masks,
    ),
    Flaw(
        "The DDPMs had learnt from the test images",
        "Classifiers trained on synthetic images were tested on real ones that the DDPMs had been "
        "trained on.",
        "results/audit/leakage.csv",
        _leaks("ddpm"),
    ),
    Flaw(
        "HOG and SVM did not depend on the labels",
        "The predictions were independent of the labels. The precision of such predictions is the "
        "share of positive images and their recall that of positive predictions, from which the "
        "accuracy follows.",
        "results/cas_hog_svm.csv",
        _hog,
        needs_table=False,
    ),
    Flaw(
        "FIDs were mostly bias, and of different dimensions",
        "Two halves of one class's real images have one distribution, and their distance should "
        "be 0. FID of few images in many dimensions is not; KID is.",
        "results/audit/halves.csv",
        _bias,
    ),
)
"""In the order of the study's critique."""
