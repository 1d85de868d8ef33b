"""The page of the study: cells of runs beside printed numbers, open cells, flaws."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from conftest import ROOT
from meddiff.audit import trainings
from meddiff.cli import main
from meddiff.core.errors import MeddiffError
from meddiff.reporting.reported import read_reported
from meddiff.reporting.study import flaws
from meddiff.reporting.study.page import study_page
from meddiff.reporting.study.runs import Run, read_page_settings
from meddiff.reporting.study.text import title_of
from meddiff.workflow.provenance.record import Record
from meddiff.workflow.provenance.store import write_record

STAMP = {"data": "isic", "scale": "small", "protocol": "as_published", "seed": 0}
PRINTED = read_reported(ROOT / "config/reported.yaml")

WAITS = "waits for a GPU: `make study-gpu STUDY=one`"


def run_with(folder: Path, name: str, **tables: list[dict]) -> Run:
    """A run with tables, named by their paths with __ for /."""
    for path, rows in tables.items():
        file = folder / name / f"{path.replace('__', '/')}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(file, index=False)
    return Run(name, folder / name)


def record(path: str, **fields: object) -> Record:
    empty = dict.fromkeys(("source", "author", "started", "finished"), "")
    made = {"rule": "any", "params": {}, "inputs": {}, "packages": {}, "machine": None}
    own = {"sha256": "0" * 64, "md5": "0" * 32, "size": 1, "commit": None}
    return Record(path=path, **{**empty, **made, **own, **fields})


def page_of(*runs: Run) -> str:
    return study_page(PRINTED, {"as published": runs}, {"as published": [Run("hands", Path())]})


def line(page: str, start: str) -> list[str]:
    [line] = [text for text in page.splitlines() if text.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def distance(image_set: str, value: float, **more: object) -> dict[str, object]:
    row = {"class": "benign", "image_set": image_set, "metric": "fid", "extractor": "unet"}
    return STAMP | row | {"value": value, "ci_low": value - 1, "ci_high": value + 1, **more}


SIMILARITY = STAMP | {
    "class": "benign", "image_set": "real", "metric": "ssim", "extractor": "", "value": 0.647,
    "std": 0.091, "ci_low": 0.64, "ci_high": 0.66, "n_real": 6834, "n_synthetic": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("hand, synthetic, ssim, ", "synthetic, SSIM"),
        ("all, fid, unet", "FID, U-Net"),
        ("ssim, black_background", "SSIM, black background"),
    ],
)
def test_what_goes_without_saying_leaves_no_comma(cell: str, words: str) -> None:
    assert title_of(cell) == words


class TestCells:
    def test_a_cell_has_value_deviation_interval_images_and_run(self, tmp_path: Path) -> None:
        page = page_of(run_with(tmp_path, "one", results__table_5_2=[SIMILARITY]))
        assert line(page, "benign, real, SSIM")[1:] == [
            "0.64 ± 0.09",
            "0.647 ± 0.091 [0.64, 0.66] (real 6,834; one)",
        ]

    def test_a_distance_has_floor_and_ceiling(self, tmp_path: Path) -> None:
        rows = [distance("synthetic", 120, n_synthetic=500), distance("real", 12.4)]
        rows.append(distance("noise", 190))
        page = page_of(run_with(tmp_path, "one", results__table_5_2=rows))
        assert line(page, "benign, synthetic, FID, U-Net")[1:] == [
            "2677.1074",
            "120 [119, 121]; floor 12.4, ceiling 190 (synthetic 500; one)",
        ]

    def test_without_synthetic_images_floor_and_ceiling_are_there(self, tmp_path: Path) -> None:
        rows = [distance("noise", 190), distance("real", 12.4), SIMILARITY]
        page = page_of(run_with(tmp_path, "one", results__table_5_2=rows))
        assert line(page, "benign, synthetic, FID, U-Net")[2] == (
            f"{WAITS}; floor 12.4, ceiling 190 (one)"
        )
        assert line(page, "benign, synthetic, SSIM")[2] == WAITS

    def test_open_cells_tell_what_they_wait_for(self, tmp_path: Path) -> None:
        page = page_of(Run("one", tmp_path / "one"))
        assert line(page, "benign, real, SSIM")[2] == "not run"
        assert line(page, "SkinLesNet, mixed, accuracy")[2] == WAITS
        one = run_with(tmp_path, "one", results__table_5_2=[SIMILARITY])
        small = page_of(replace(one, is_small=True))
        assert line(small, "SkinLesNet, mixed, accuracy")[2] == "not run"
        assert len(line(small, "SkinLesNet, mixed, accuracy")) == 3
        absent = page_of(Run("two", tmp_path / "two", is_small=True))
        assert len(line(absent, "SkinLesNet, mixed, accuracy")) == 2
        assert "- one: `snakemake --profile profiles/one results/table_5_1.csv`" in page
        assert "\nstudy-gpu:" in (ROOT / "Makefile").read_text()

    def test_the_first_run_of_a_column_wins_and_the_next_fills_the_rest(self, tmp_path) -> None:
        first = run_with(tmp_path, "first", results__table_5_2=[SIMILARITY])
        rows = [SIMILARITY | {"value": 0.1}, distance("synthetic", 3)]
        page = page_of(first, run_with(tmp_path, "second", results__table_5_2=rows))
        assert line(page, "benign, real, SSIM")[2].endswith("first)")
        assert line(page, "benign, synthetic, FID, U-Net")[2].endswith("second)")

    def test_the_command_is_that_of_the_scale_which_the_table_states(self, tmp_path) -> None:
        made = run_with(tmp_path, "one", results__table_5_2=[SIMILARITY])
        run = Run("one", made.folder, options={"small": "--configfile small.yaml --"})
        page = page_of(run)
        assert (
            "`snakemake --profile profiles/one --configfile small.yaml -- results/table_5_2.csv`"
            in page
        )
        shared = "runs/one/results/table_5_2.csv --configfile small.yaml"
        assert f"\nmeddiff restore {shared} && meddiff verify {shared}\n" in page

    def test_every_printed_number_has_its_line(self) -> None:
        page = page_of(Run("one", Path("absent")))
        numbers = sum(len(set(row.values) - {"std"}) for row in PRINTED)
        tables = page.split("## The ten flaws")[0].splitlines()
        cells = [text for text in tables if "| waits for" in text or "| not run |" in text]
        assert len(cells) == numbers


TRAININGS = [
    STAMP | {"treatment": treatment, "repetition": seed, "images_per_step": step, "steps": 840,
     "loss": 0.05, "validation_loss": loss + seed / 1000, "lr": lr, "n_real": 530,
     "n_validation": 66}
    for seed in (0, 1)
    for treatment, step, loss, lr in [
        (trainings.AS_MEANT, 32, 0.05, 1e-3), (trainings.VOID, 4, 0.07, 1e-3),
        (trainings.PLATEAU, 32, 0.06, 1e-6),
    ]
]  # fmt: skip


class TestFlaws:
    def test_there_are_ten_and_each_names_its_command(self) -> None:
        page = page_of(Run("one", Path("absent")))
        assert [f"### {n}." in page for n in range(1, 11)] == [True] * 10
        for flaw in flaws.FLAWS:
            assert f"`snakemake --profile profiles/one {flaw.path}`" in page

    def test_trainings_show_void_accumulation_division_and_plateau(self, tmp_path: Path) -> None:
        page = page_of(run_with(tmp_path, "one", results__audit__trainings=TRAININGS))
        accumulation = line(page, "loss of unseen images after 840 steps")
        assert accumulation[2:4] == [
            "0.0705 [0.07, 0.071], 4 images per step",
            "0.0505 [0.05, 0.051], 32 images per step",
        ]
        ratio = line(page, "validation loss by training loss, as logged")
        assert [float(cell.split()[0]) for cell in ratio[2:4]] == pytest.approx([8.08, 1.01])
        assert line(page, "learning rate at the end")[2:4] == [
            "1e-06 [1e-06, 1e-06]",
            "0.001 [0.001, 0.001]",
        ]

    def test_treatments_are_those_of_the_audit(self) -> None:
        named = (flaws.MEANT, flaws.VOID, flaws.PLATEAU)
        assert named == (trainings.AS_MEANT, trainings.VOID, trainings.PLATEAU)

    @pytest.mark.parametrize(("positive", "flagged"), [(0.47, 0.7), (0.1, 0.3), (0.5, 0.5)])
    def test_accuracy_of_independent_predictions(self, positive: float, flagged: float) -> None:
        rng = np.random.default_rng(0)
        labels, predicted = (rng.random(400_000) < share for share in (positive, flagged))
        precision = labels[predicted].mean()
        recall = predicted[labels].mean()
        expected = flaws.independent_accuracy(precision, recall)
        assert (labels == predicted).mean() == pytest.approx(expected, abs=0.006)

    def test_the_printed_scores_of_hog_are_those_of_chance(self) -> None:
        sources = flaws.Sources([], PRINTED)
        values = [
            sources.printed("cas_hog_svm", "value", metric=m) for m in ("precision", "recall")
        ]
        printed = sources.printed("cas_hog_svm", "value", metric="accuracy")
        assert flaws.independent_accuracy(*values) == pytest.approx(printed, abs=0.005)

    def test_masks_say_how_long_the_net_has_learnt(self, tmp_path: Path) -> None:
        scores = {"transposed": [0.4, 0.6], "upright": [0.7, 0.9]}
        rows = {key: [{"dice": x, "iou": x} for x in each] for key, each in scores.items()}
        run = run_with(
            tmp_path, "one", predictions__unet=rows["upright"],
            predictions__unet_transposed=rows["transposed"],
            models__unet_transposed_history=[{"epoch": 1}, {"epoch": 5}],
            results__table_5_1=[STAMP | {"extractor": "skinlesnet"}],
        )  # fmt: skip
        page = page_of(run)
        cells = line(page, "Dice on upright test masks, 5 epochs")
        assert [cell.split()[0] for cell in cells[2:]] == ["0.5", "0.8", "2"]
        assert "\none (data isic, scale small): `snakemake" in page


def test_memorisation_is_that_of_pixels_and_names_its_command(tmp_path: Path) -> None:
    row = {"class": "benign", "by": "pixels", "closer": 0.6, "p_value": 0.003, "verdict": "closer",
           "n_synthetic": 7, "n_training": 8, "n_unseen": 9}  # fmt: skip
    other = {"class": "malignant", "by": "denoising loss", "p_value": 0.5}
    page = page_of(run_with(tmp_path, "one", results__memorisation=[STAMP | row, STAMP | other]))
    section = page.split("## Memorisation")[1].split("\n## ")[0]
    assert line(section, "benign")[1:4] == ["0.6", "0.003", "closer"]
    assert "results/memorisation.csv`" in section and "malignant" not in section
    assert "## Memorisation" not in page_of(
        run_with(tmp_path, "two", results__memorisation=[STAMP | other])
    )


def test_the_verdict_sets_an_arm_beside_its_baseline(tmp_path: Path) -> None:
    row = {"classifier": "skinlesnet", "arm": "synthetic", "baseline": "real", "metric": "accuracy",
           "class": "all", "value": 0.77, "baseline_value": 0.81, "difference": -0.04,
           "ci_low": -0.08, "ci_high": 0.01, "outcome": "inconclusive", "n_test": 132}  # fmt: skip
    page = page_of(run_with(tmp_path, "one", results__verdict=[STAMP | row]))
    section = page.split("## Verdict")[1].split("\n## ")[0]
    assert line(section, "SkinLesNet")[1:] == [
        "synthetic against real", "accuracy", "0.77 against 0.81", "-0.04 [-0.08, 0.01]",
        "inconclusive",
    ]  # fmt: skip
    assert "132 real" in section and "results/verdict.csv`" in section


class TestCommand:
    def project(self, folder: Path) -> Path:
        (folder / "config").mkdir(parents=True)
        shown = [("a", "Hands"), ("b", "None")]
        settings = {
            "lesions": {"as published": ["one"]},
            "hands": {"as published": ["hand"]},
            "pictures": [
                {"run": "hand", "path": f"results/{name}.png", "caption": caption}
                for name, caption in shown
            ],
        }
        (folder / "config/page.yaml").write_text(yaml.safe_dump(settings))
        published = (ROOT / "config/reported.yaml").read_text()
        (folder / "config/reported.yaml").write_text(published)
        run_with(folder / "runs", "one", results__table_5_2=[SIMILARITY])
        (folder / "runs/hand/results").mkdir(parents=True)
        (folder / "runs/hand/results/a.png").write_bytes(b"picture")
        return folder

    def test_it_writes_the_page_and_the_pictures_that_are_here(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(self.project(tmp_path))
        assert main(["study"]) == 0
        page = Path("docs/study.md").read_text()
        assert "![Hands](images/study_hand_a.png)" in page and "None" not in page
        assert Path("docs/images/study_hand_a.png").read_bytes() == b"picture"
        assert "meddiff restore runs/one/results/table_5_2.csv" in page

    def test_raw_files_and_commits_are_those_of_the_records(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(self.project(tmp_path))
        folder = Path("runs/one/.snakemake/meddiff/records")
        images = record("data/images/index.csv", inputs={"data/raw/a.zip": "a" * 64})
        table = record("results/table_5_2.csv", commit="0123456789-dirty")
        for each in (images, table):
            write_record(each, folder)
        main(["study"])
        page = Path("docs/study.md").read_text()
        assert line(page, "data/raw/a.zip")[1] == f"`{'a' * 64}`"
        assert "0123456-dirty" in line(page, "one")

    def test_elsewhere_it_says_where_it_belongs(self, tmp_path, monkeypatch, capsys) -> None:
        monkeypatch.chdir(tmp_path)
        assert main(["study"]) == 1
        assert "config/page.yaml" in capsys.readouterr().err

    @pytest.mark.parametrize("text", ["[", "lesions: {a: [b]}", "lesions: {}\nhands: {}"])
    def test_another_file_is_one_line(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "page.yaml").write_text(text)
        with pytest.raises(MeddiffError, match=r"page\.yaml") as error:
            read_page_settings(tmp_path / "page.yaml")
        assert len(str(error.value).splitlines()) == 1

    def test_runs_of_the_page_have_profiles_of_their_names(self) -> None:
        settings = read_page_settings(ROOT / "config/page.yaml")
        named = {run for columns in (settings.lesions, settings.hands) for runs in columns.values()
                 for run in runs}  # fmt: skip
        for run in named:
            profile = yaml.safe_load((ROOT / "profiles" / run / "config.yaml").read_text())
            assert profile["directory"] == f"runs/{run}"

    def test_commands_of_a_run_keep_the_configuration_of_its_profile(self) -> None:
        for run, scales in read_page_settings(ROOT / "config/page.yaml").options.items():
            profile = yaml.safe_load((ROOT / "profiles" / run / "config.yaml").read_text())
            for options in scales.values():
                files = [word for word in options.split() if not word.startswith("-")]
                own = [name for name in profile["configfile"] if name != "config/gpu.yaml"]
                assert files[: len(own)] == own
