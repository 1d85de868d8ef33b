"""Which files are behind a cell of a table: by paths and a rule's own word, not by rule names."""

from pathlib import Path

import pandas as pd
import pytest

from meddiff.core.errors import MeddiffError
from meddiff.workflow.provenance.record import Record
from meddiff.workflow.sharing.plan import Plan
from meddiff.workflow.sharing.proof import Proof, cells_of, select

CLASSES = ("benign", "malignant")
SETS = ("train", "test", "synthetic")
TABLE = "results/table_5_2.csv"


def record(path: str, *inputs: str, **params: object) -> Record:
    return Record(
        path=path, sha256="0" * 64, md5="0" * 32, size=1, rule="any",
        inputs=dict.fromkeys(inputs, "0" * 64), params=params, source="", commit=None,
        packages={}, machine=None, author="a", started="", finished="",
    )  # fmt: skip


def files(pattern: str, sets: tuple[str, ...] = SETS) -> list[str]:
    return [pattern.format(set=name, cls=cls) for name in sets for cls in CLASSES]


@pytest.fixture
def prove(tmp_path, monkeypatch):
    """Return a function that gives the files behind each row of a table, made of one source."""
    monkeypatch.chdir(tmp_path)

    def cells(source: str, rows: list[str], *records: Record) -> list[set[str]]:
        Path("results").mkdir(exist_ok=True)
        lines = ["class,image_set,source_file,value", *(f"{row},{source},1" for row in rows)]
        Path(TABLE).write_text("\n".join(lines))
        plan = Plan(Path(), Path(), (), (TABLE,), {}, overlays=False)
        proof = Proof(TABLE, plan, {each.path: each for each in records})
        return [set(behind) for behind in cells_of(proof)["behind"]]

    return cells


def chain(*, one_job: bool) -> list[Record]:
    """From one archive to distances; features of a set, or of all sets, are made by one job."""
    images = [record(path, "index.csv") for path in files("data/images/{set}/{cls}.npy", SETS[:2])]
    ddpms = [
        record(f"models/ddpm/{cls}.safetensors", f"data/images/train/{cls}.npy") for cls in CLASSES
    ]
    drawn = [
        record(f"data/images/synthetic/{cls}.npy", f"models/ddpm/{cls}.safetensors")
        for cls in CLASSES
    ]
    features = [
        record(
            f"features/unet/{name}/{cls}.npy",
            *files("data/images/{set}/{cls}.npy", SETS if one_job else (name,)),
            "models/unet.safetensors",
        )
        for name in SETS
        for cls in CLASSES
    ]
    distances = record(
        "metrics/distances/unet.csv", *files("features/unet/{set}/{cls}.npy"), per_class=True
    )
    return [record("index.csv"), record("models/unet.safetensors"), *images, *ddpms, *drawn,
            *features, distances]  # fmt: skip


@pytest.mark.parametrize("one_job", [False, True])
def test_a_row_depends_on_its_own_class_and_synthetic_images_on_its_ddpm_alone(prove, one_job):
    rows = ["benign,test", "benign,synthetic", "malignant,test", "mean,synthetic"]
    real, synthetic, _, mean = prove("metrics/distances/unet.csv", rows, *chain(one_job=one_job))
    own = {f"features/unet/{name}/benign.npy" for name in ("train", "test")}
    assert real == {
        "metrics/distances/unet.csv", *own, "data/images/train/benign.npy",
        "data/images/test/benign.npy", "models/unet.safetensors", "index.csv",
    }  # fmt: skip
    ddpm = {"models/ddpm/benign.safetensors", "data/images/synthetic/benign.npy"}
    assert synthetic == real | ddpm | {"features/unet/synthetic/benign.npy"}
    assert {each.path for each in chain(one_job=one_job)} == mean


def test_without_the_rules_word_a_row_depends_on_all_that_its_job_read(prove):
    *records, distances = chain(one_job=False)
    records.append(distances.model_copy(update={"params": {}}))
    rows = ["benign,synthetic", "malignant,synthetic"]
    behind, _ = prove("metrics/distances/unet.csv", rows, *records)
    assert behind == {each.path for each in records}


def test_a_score_of_one_class_depends_on_what_the_classifier_learnt_of_all(prove):
    records = [
        *chain(one_job=False),
        record("cas/net.csv", *files("data/images/{set}/{cls}.npy")),
    ]
    behind, _ = prove("cas/net.csv", ["benign,", "malignant,"], *records)
    images = set(files("data/images/{set}/{cls}.npy"))
    assert behind == {
        "cas/net.csv", "index.csv", *images, *(f"models/ddpm/{cls}.safetensors" for cls in CLASSES)
    }  # fmt: skip


def test_a_shard_of_a_class_that_is_a_number_depends_on_its_ddpm(prove):
    ddpms = [f"models/ddpm/{cls}.safetensors" for cls in "01"]
    shards = [
        (cls, f"data/images/shards/{cls}/shard-{shard}.npy") for cls in "01" for shard in "01"
    ]
    drawn = [f"data/images/synthetic/{cls}.npy" for cls in "01"]
    records = [
        *(record(path, "data/images/split.csv") for path in ddpms),
        *(record(path, ddpms[int(cls)]) for cls, path in shards),
        *(record(path, *(f for c, f in shards if c == str(n))) for n, path in enumerate(drawn)),
        record("data/images/split.csv"),
        record("metrics/distances/unet.csv", *drawn, per_class=True),
    ]
    for cls, behind in zip(
        "01",
        prove("metrics/distances/unet.csv", ["0,synthetic", "1,synthetic"], *records),
        strict=True,
    ):
        assert behind == {
            "metrics/distances/unet.csv",
            "data/images/split.csv",
            ddpms[int(cls)],
            drawn[int(cls)],
            *(path for name, path in shards if name == cls),
        }


def test_images_of_one_net_depend_on_every_class_that_it_learnt(prove):
    images = [f"data/images/train/{cls}.npy" for cls in CLASSES]
    net = "models/ddpm/all.safetensors"
    drawn = [f"data/images/synthetic/{cls}.npy" for cls in CLASSES]
    records = [
        *(record(path) for path in images),
        record(net, *images),
        *(record(path, net) for path in drawn),
        record("metrics/similarity/synthetic.csv", *drawn, per_class=True),
    ]
    rows = ["benign,synthetic", "malignant,synthetic"]
    behind, _ = prove("metrics/similarity/synthetic.csv", rows, *records)
    assert behind == {"metrics/similarity/synthetic.csv", drawn[0], net, *images}


def test_a_cell_is_named_by_columns_and_values():
    table = pd.DataFrame({"class": ["a", "b", "b"], "fold": [1, 1, 2], "value": [0.1, 0.2, 0.3]})
    assert select(table, "class=b,fold=2")["value"].tolist() == [0.3]
    for cell in ("colour=red", "class=c", "class=a,fold=2"):
        with pytest.raises(MeddiffError, match=f"--cell {cell}"):
            select(table, cell)
