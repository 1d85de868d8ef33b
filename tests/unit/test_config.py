"""The configuration: generated files in step, clear errors, the study's values."""

import ast
import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from conftest import ROOT
from meddiff.core.errors import MeddiffError
from meddiff.core.settings import Settings
from meddiff.data.catalogue import SOURCES, SourceName
from meddiff.data.registry import read_registry
from meddiff.data.sources.published import SOURCE_READERS
from meddiff.workflow.config import Config, load_config, take_rebuild
from meddiff.workflow.config_files import generated
from meddiff.workflow.sections import cas_settings, dose_settings, guided_sets, imported_ddpms
from meddiff.workflow.targets import final_outputs, page_inputs

SPLITS = ("train", "validation", "test")


def merged(*overlays: str, own: dict | None = None) -> Config:
    """Merge files of config/ as Snakemake does, over `own`, an edited config.yaml."""
    values: dict = copy.deepcopy(own or {})
    for name in overlays:
        update_config(values, load_configfile(ROOT / "config" / name))
    return load_config(values)


@pytest.mark.parametrize("name", sorted(generated()))
def test_generated_files_are_in_step(name):
    assert (ROOT / "config" / name).read_text() == generated()[name], "run `make config`"


def values_by_key(tree: dict, prefix: str = "") -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in tree.items():
        nested = isinstance(value, dict) and value
        values |= values_by_key(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return values


def test_config_yaml_holds_defaults_and_its_readme_every_key():
    assert merged("config.yaml") == Config()
    defaults = values_by_key(Config().model_dump(mode="json"))
    shown = values_by_key(yaml.safe_load((ROOT / "config/config.yaml").read_text()))
    assert shown.items() <= defaults.items()
    keys = re.findall(r"^\| `([\w.]+)` \|", (ROOT / "config/README.md").read_text(), re.MULTILINE)
    missing = [key for key in defaults if not any(f"{key}.".startswith(f"{k}.") for k in keys)]
    assert not missing


def test_schema_accepts_the_defaults_and_refuses_unknown_keys():
    import jsonschema

    schema = json.loads((ROOT / "config/schema.json").read_text())
    jsonschema.validate(Config().model_dump(mode="json"), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"sed": 1}, schema)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sed": 1}, r"\bsed\b.*\bscale, seed,"),
        ({"data": {"sorce": 1}}, r"\bdata\.sorce\b.* source,"),
        (
            {"diffusion": {"network": {"chanels": []}}},
            r"\bdiffusion\.network\.chanels\b.* channels,",
        ),
        ({"diffusion": {"lr": -1}}, r"diffusion\.lr = -1: .*\b0\b"),
        ({"protocol": "honest"}, r"protocol = 'honest': .*'leak_free'.*'as_published'"),
        ({"data": {"source": "folder"}}, r"\bdata\.folder\.images\b"),
        ({"data": {"size": 30}}, r"data\.size 30 .*\b4\b"),
        ({"data": {"size": 36}}, r"data\.size 36 .*\b8\b.*extractors\.unet"),
        ({"data": {"size": 24}}, r"data\.size 24 .*\b16\b.*SkinLesNet"),
        (
            {"metrics": {"ms_ssim": {"kernel_size": 5}}},
            r"ms_ssim\.kernel_size 5 .*\b32 px.*\b2\b",
        ),
        ({"data": {"classes": ["a", "b"]}}, r"data\.classes .*phantom .*benign and malignant"),
        ({"data": {"source": "mednist"}}, r"data\.classes .*mednist .*\bhand\b"),
        ({"data": {"undersample": "none"}}, r"data\.undersample\b.* undersample\?"),
        ({"metrics": {"reference": []}}, r"metrics\.reference"),
        ({"diffusion": {"train_on": ["train", "train"]}}, r"train_on .*'train', 'train'"),
        ({"metrics": {"ssim_on": ["all", "all"]}}, r"metrics\.ssim_on .*'all', 'all'"),
        ({"diffusion": {"network": {"head_channels": 48}}}, r"network: channels .*head_channels"),
        ({"split": {"test": 0}}, r"split\.test = 0: .*\b0\b"),
        ({"cas": {"arms": []}}, r"cas\.arms"),
        ({"cas": {"arms": ["real", "real"]}}, r"cas\.arms .*'real', 'real'"),
        ({"sampling": {"steps": 1001}}, r"sampling\.steps 1001: .*schedule\.timesteps .*\b1000\b"),
        (
            {"diffusion": {"preview": {"sampler": "langevin"}, "schedule": {"process": "vp"}}},
            r"diffusion\.preview\.sampler langevin .*\bvp: .*\bddpm, .*reverse_sde",
        ),
        (
            {"diffusion": {"schedule": {"sigma_min": 2.0, "sigma_max": 1.0}}},
            r"sigma_min 2\.0 .*sigma_max 1\.0",
        ),
        ({"diffusion": {"preview": {"steps": 1001}}}, r"diffusion\.preview\.steps"),
        ({"data": {"classes": ["test", "malignant"]}}, r"classes: test\b.*image set"),
        ({"data": {"classes": ["real", "malignant"]}}, r"classes: real\b.*image set"),
        ({"data": {"classes": ["augmented-test", "malignant"]}}, r"classes: augmented-test\b"),
        ({"data": {"classes": ["split", "malignant"]}}, r"classes: split\b.*table"),
        ({"data": {"classes": ["shard-0", "malignant"]}}, r"classes: shard-0\b.*shard"),
        ({"data": {"classes": ["clip", "malignant"]}}, r"classes: clip\b.*extractor"),
        ({"diffusion": {"epochs": 3}}, r"diffusion: .*epochs .*steps"),
        ({"diffusion": {"classes": {"mole": {}}}}, r"diffusion\.classes .*'mole'"),
        ({"split": {"validation": 0.6, "test": 0.5}}, r"split: .*1\.1\b"),
        ({"data": {"classes": ["one", "one"]}}, r"data: classes .*'one', 'one'"),
    ],
)
def test_faults_are_reported_with_key_value_and_remedy(values, message):
    with pytest.raises(MeddiffError, match=message) as caught:
        load_config(values)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"beta_end": 1.5}, r"schedule\.beta_end = 1\.5"),
        ({"beta_end": 1.0}, r"schedule\.beta_end = 1\.0"),
        ({"beta_start": 0.1}, r"diffusion\.schedule: beta_start 0\.1 .*beta_end 0\.02"),
        ({"beta_end": 0.5}, r"diffusion\.schedule: timesteps 1000 .*beta_end 0\.5"),
        ({"beta_end": 0.5, "process": "vp"}, r"schedule: timesteps 1000 .*beta_end 0\.5"),
    ],
)
def test_betas_that_leave_no_signal_are_one_line(schedule, message):
    with pytest.raises(MeddiffError, match=message) as caught:
        load_config({"diffusion": {"schedule": {"betas": "linear"} | schedule}})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "rebuild"),
    [("yes", True), ("Yes", True), ("true", True), (True, True), (1, True), ("1", True),
     ("no", False), ("false", False), (False, False), (0, False), ("0", False)],
)  # fmt: skip
def test_rebuild_is_said_in_any_way_and_is_no_part_of_the_configuration(value, rebuild):
    values = {"seed": 3, "rebuild": value}
    assert take_rebuild(values) is rebuild
    assert values == {"seed": 3} and take_rebuild(values) is False


@pytest.mark.parametrize("value", ["maybe", "", None, 2, ["yes"], {"results": "yes"}])
def test_rebuild_that_is_neither_yes_nor_no_is_refused(value):
    with pytest.raises(MeddiffError, match=r"rebuild = ") as caught:
        take_rebuild({"rebuild": value})
    assert len(str(caught.value).splitlines()) == 1


def test_several_faults_are_reported_together():
    with pytest.raises(MeddiffError) as caught:
        load_config({"sed": 1, "diffusion": {"lr": -1}})
    assert len(str(caught.value).splitlines()) == 2


@given(st.dictionaries(st.text(min_size=1), st.none(), min_size=1, max_size=3))
def test_any_unknown_section_is_refused(values):
    settings = {key for key in values if key in Config.model_fields}
    if not settings:
        with pytest.raises(MeddiffError, match=r"\bscale, seed\b"):
            load_config(values)


FOLDER = {"source": "folder", "folder": {"images": "i", "table": "t.csv"}}


def folder(**data) -> Config:
    """Read a configuration of a folder, written without quotes."""
    own = data.pop("folder", {})
    values = yaml.safe_load(yaml.safe_dump({"data": FOLDER | data}))
    values["data"]["folder"] |= own
    return load_config(values)


@given(st.lists(st.integers(min_value=-(10**6)), min_size=2, max_size=4, unique=True))
def test_whole_numbers_are_names(numbers):
    names = [str(number) for number in numbers]
    config = folder(classes=numbers, folder={"labels": dict.fromkeys(numbers, numbers[0])})
    assert config.data.classes == names
    assert config.data.folder.labels == dict.fromkeys(names, names[0])


def test_whole_numbers_name_columns_files_and_editions():
    own = {"images": 2020, "id_column": 0, "patient_column": 7}
    config = folder(editions=[2018, 2020], folder=own)
    assert config.data.folder.images == "2020" and config.data.folder.id_column == "0"
    assert config.data.folder.patient_column == "7" and config.data.folder.lesion_column is None
    assert config.data.editions == ["2018", "2020"]


@pytest.mark.parametrize(
    ("text", "key", "quoted"),
    [
        ("data: {folder: {labels: {no: benign}}}", "data.folder.labels", "no"),
        ("data: {folder: {labels: {yes: benign}}}", "data.folder.labels", "yes"),
        ("data: {folder: {labels: {1.5: benign}}}", "data.folder.labels", "1.5"),
        ("data: {folder: {labels: {~: benign}}}", "data.folder.labels", "null"),
        ("data: {folder: {labels: {x: off}}}", "data.folder.labels.x", "no"),
        ("data: {folder: {id_column: no}}", "data.folder.id_column", "no"),
        ("data: {classes: [a, on]}", "data.classes.1", "yes"),
        ("data: {classes: [.nan, a]}", "data.classes.0", "nan"),
        ("data: {classes: [a, 2020-01-02]}", "data.classes.1", "2020-01-02"),
        ("undersample: {counts: {yes: 5}}", "undersample.counts", "yes"),
        ("diffusion: {classes: {no: {epochs: 1}}}", "diffusion.classes", "no"),
    ],
)
def test_what_yaml_does_not_read_as_text_is_reported_with_the_quotes_that_mend_it(
    text, key, quoted
):
    with pytest.raises(MeddiffError) as caught:
        load_config(yaml.safe_load(text))
    message = str(caught.value)
    assert message.startswith(f"configuration: {key} = ") and f'"{quoted}"' in message
    assert len(message.splitlines()) == 1


def test_undersampling_is_left_out_or_says_what_is_kept():
    assert load_config({"undersample": "none"}).kept == {"benign": "all", "malignant": "all"}
    counts = {"benign": "all", "malignant": 5}
    assert load_config({"undersample": {"counts": counts}}).kept == counts
    assert load_config({}).kept == {}


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (None, "undersample = None"),
        ("all", "undersample = 'all'"),
        ({"counts": {"benign": "none"}}, r"undersample\.counts\.benign = 'none'"),
        ({"counts": {"benign": 0}}, r"undersample\.counts\.benign = 0"),
        ({"counts": {"benign": True}}, r"undersample\.counts\.benign = True"),
        ({"counts": {"mole": "all"}}, r"undersample\.counts .*'mole'"),
        ({"count": {}}, r".*\bundersample\.count\b.* counts"),
    ],
)
def test_undersampling_that_is_wrong_is_reported_in_one_line(section, key):
    with pytest.raises(MeddiffError, match=f"^configuration: {key}") as caught:
        load_config({"undersample": section})
    assert len(str(caught.value).splitlines()) == 1


def test_a_name_with_and_without_quotes_is_no_two_names():
    with pytest.raises(MeddiffError, match=r"data\.folder: labels .*\[0, '0'\]"):
        folder(folder={"labels": {0: "benign", "0": "malignant"}})


HANDS = {"data": {"source": "phantom_hand", "classes": ["hand"]}}


def test_a_run_of_one_class_has_no_classifiers_and_none_without_masks_a_unet():
    assert load_config({}).trained_extractors == ["unet", "skinlesnet", "resnet50"]
    assert load_config(HANDS).trained_extractors == []
    unused = {"data": HANDS["data"] | {"folder": {"masks": "m"}}}
    assert load_config(unused).trained_extractors == []
    assert folder().trained_extractors == ["skinlesnet", "resnet50"]
    assert folder(folder={"masks": "m"}).trained_extractors == ["unet", "skinlesnet", "resnet50"]


@pytest.mark.parametrize(("source", "own", "grey"), [
    ("phantom", None, False), ("phantom", True, True), ("phantom_hand", None, True),
    ("phantom_hand", False, False),
])  # fmt: skip
def test_images_are_grey_as_their_source_or_as_set(source, own, grey):
    values = HANDS["data"] if source == "phantom_hand" else {}
    assert load_config({"data": {**values, "grey": own}}).data.is_grey is grey


@pytest.mark.parametrize(("changes", "ddpm", "reference", "unseen"), [
    ({}, ["train"], ["test"], "validation"),
    ({"protocol": "as_published"}, [*SPLITS], [*SPLITS], None),
    ({"protocol": "as_published", "diffusion": {"train_on": ["train"]},
      "metrics": {"reference": ["validation"]}}, ["train"], ["validation"], "test"),
    ({"metrics": {"reference": ["validation", "test"]}}, ["train"], ["validation", "test"], None),
])  # fmt: skip
def test_real_images_are_learnt_from_compared_with_or_unseen(changes, ddpm, reference, unseen):
    config = load_config(changes)
    assert (config.ddpm_sets, config.reference_sets) == (ddpm, reference)
    assert config.unseen_set == unseen


def test_every_source_is_declared_once_and_read():
    assert set(SOURCES) == set(get_args(SourceName)) == {*SOURCE_READERS, "folder"}
    assert {SOURCES[name].archives for name in SOURCE_READERS} <= {
        entry.source for entry in read_registry().values()
    }


def words_of(path: Path) -> Iterator[str]:
    """Names and texts of a program that may read a setting, declarations of settings apart."""
    if path.suffix == ".smk":
        yield from re.findall(r"\w+", path.read_text())
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.arg | ast.keyword):
            yield node.arg or ""


def words_of_properties(path: Path) -> Iterator[str]:
    """Names that properties of a class read."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and any(
            isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list
        ):
            yield from (part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute))


def sections(model: type[Settings]) -> Iterator[type[Settings]]:
    yield model
    for field in model.model_fields.values():
        parts = [field.annotation, *get_args(field.annotation)]
        for part in parts:
            if isinstance(part, type) and issubclass(part, Settings):
                yield from sections(part)


def test_something_reads_every_setting():
    """A key that nothing reads would be taken, perhaps rerun jobs, and change nothing."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py"),
             *(ROOT / "workflow").rglob("*.smk")]  # fmt: skip
    own = {"settings.py", "config.py", "config_files.py"}
    read = {word for path in files if path.name not in own for word in words_of(path)}
    read |= {word for path in files if path.name in own for word in words_of_properties(path)}
    for section in set(sections(Config)):
        assert set(section.model_fields) <= read, section
    assert "sorce" not in read


STUDY = {
    "data.size": 64,
    "undersample.counts": {"benign": 6834},
    "diffusion.batch_size": 4,
    "diffusion.gradient_accumulation": 8,
    "diffusion.lr": 1e-3,
    "diffusion.optimizer": "adam",
    "diffusion.lr_schedule": "plateau",
    "diffusion.ema": None,
    "diffusion.network.channels": [64, 128, 256, 256],
    "diffusion.network.attention": [False, False, True, True],
    "diffusion.network.residual_blocks": 1,
    "diffusion.network.head_channels": 256,
    "diffusion.schedule.timesteps": 1000,
    "diffusion.schedule.betas": "linear",
    "diffusion.schedule.beta_start": 1e-4,
    "diffusion.schedule.beta_end": 2e-2,
    "diffusion.schedule.prediction": "epsilon",
    "diffusion.schedule.pixel_range": [0, 1],
    "sampling.images": 500,
    "sampling.sampler": "ddpm",
    "sampling.steps": 1000,
    "extractors.unet.channels": [32, 64, 128, 256],
    "extractors.resnet50.weights": "imagenet",
    "metrics.ssim.kernel_size": 3,
    "metrics.ms_ssim.kernel_size": 3,
    "cas.epochs": 75,
    "cas.lr": 1e-3,
    "protocol": "as_published",
}


@pytest.mark.parametrize("key", STUDY)
def test_thesis_overlay_holds_the_study(key):
    value = merged("config.yaml", "thesis.yaml")
    for part in key.split("."):
        value = getattr(value, part)
    assert value == STUDY[key]


HAND = {
    "data.source": "mednist",
    "data.crop": 45,
    "data.size": 32,
    "data.is_grey": True,
    "ddpm_sets": ["train"],
    "reference_sets": ["validation"],
    "diffusion.augmentation": "hand",
    "diffusion.augment_once": True,
    "diffusion.epochs": 70,
    "diffusion.steps": None,
    "diffusion.batch_size": 32,
    "diffusion.network.channels": [128, 256, 256],
    "diffusion.schedule.pixel_range": [0, 1],
    "diffusion.lr_end": 2e-4,
    "sampling.images": 100,
    "sampling.steps": 1000,
    "extractors.pretrained": ["radimagenet"],
    "metrics.ssim_on": ["all", "black_background"],
    "metrics.ssim.kernel_size": 2,
    "metrics.ms_ssim.kernel_size": 2,
    "metrics.augment_real": True,
}


@pytest.mark.parametrize("key", HAND)
def test_thesis_hand_holds_section_5_1(key):
    value = merged("config.yaml", "hand.yaml", "thesis-hand.yaml")
    for part in key.split("."):
        value = getattr(value, part)
    assert value == HAND[key]


def test_thesis_trains_each_class_as_long_as_the_study():
    diffusion = merged("config.yaml", "thesis.yaml").diffusion
    assert diffusion.for_class("malignant").epochs == 200
    assert diffusion.for_class("benign").epochs == 100
    assert diffusion.for_class("benign").steps is None


def test_an_override_leaves_other_classes_alone():
    config = load_config({"diffusion": {"classes": {"malignant": {"epochs": 3}}}})
    assert config.diffusion.for_class("benign") == load_config({}).diffusion.for_class("benign")
    assert config.diffusion.for_class("malignant").epochs == 3


def flat(value, prefix=""):
    if not isinstance(value, dict):
        return {prefix.removeprefix("."): value}
    parts = [flat(part, f"{prefix}.{key}") for key, part in value.items()]
    return {key: part for flattened in parts for key, part in flattened.items()}


@pytest.mark.parametrize("protocol", [[], ["leak-free.yaml"]], ids=["as_published", "leak_free"])
def test_one_edition_is_all_that_study_2018_changes(protocol):
    thesis = flat(merged("config.yaml", "thesis.yaml", *protocol).model_dump())
    ours = flat(merged("config.yaml", "thesis.yaml", "study-2018.yaml", *protocol).model_dump())
    differ = {key for key in thesis.keys() | ours.keys() if thesis.get(key) != ours.get(key)}
    files = {key for key in differ if key.startswith("data.archives.files")}
    assert len(files) == 6
    assert differ - files == {"scale", "data.editions", "undersample.counts.benign"}


def profiles() -> dict[str, dict]:
    """Options of the profiles that name a configuration."""
    files = (ROOT / "profiles").glob("*/config.yaml")
    options = {file.parent.name: yaml.safe_load(file.read_text()) for file in files}
    return {name: each for name, each in options.items() if "configfile" in each}


def overlays_of(profile: str) -> list[str]:
    files = np.atleast_1d(profiles()[profile]["configfile"])
    return [file.removeprefix("config/") for file in files]


@pytest.mark.parametrize("profile", sorted(profiles()))
@pytest.mark.parametrize("more", [[], ["two-cores.yaml"]], ids=["", "two-cores"])
def test_an_edited_config_yaml_lies_under_every_profile(profile, more):
    overlays = [*overlays_of(profile), *(more if profile.startswith("study-2018") else [])]
    assert merged("config.yaml", *overlays).scale
    imported = {"checkpoint": "x", "network": {}, "schedule": {}}
    own = [
        {"undersample": {"counts": {name: 5}}, "diffusion": {"classes": {name: settings}}}
        for name, settings in (("a", imported), ("malignant", {}), ("hand", imported))
    ]
    own[0]["data"] = FOLDER | {"classes": ["a", "b"]}
    for values in own:
        config = merged(*overlays, own=values)
        assert set(config.kept) <= set(config.data.classes) == set(config.source.classes)
        assert set(imported_ddpms(config)) <= set(config.data.classes)


def test_classes_of_another_source_are_ignored_and_unknown_ones_refused():
    counts = {"undersample": {"counts": {"malignant": 100}}}
    config = load_config(HANDS | counts)
    assert config.kept == {} and config.absent_classes == {"undersample.counts": ["malignant"]}
    for data in (HANDS["data"], FOLDER | {"classes": ["a", "b"]}):
        names = "mole" if data is HANDS["data"] else "malignant"
        with pytest.raises(MeddiffError, match=rf"undersample\.counts .*'{names}'"):
            load_config({"data": data, "undersample": {"counts": {names: 100}}})


@pytest.mark.parametrize(("most", "kept"), [(None, {}), (300, {}), (200, {}), (50, {50})])
def test_a_maximum_of_synthetic_images_is_a_parameter_only_where_it_cuts(most, kept):
    config = load_config({"cas": {"dose": {"max_synthetic_per_class": most}}})
    dose = dose_settings(config)["dose"]
    assert {value for key, value in dose.items() if key.startswith("max")} == set(kept)


def test_real_images_alone_have_real_arms_alone():
    config = load_config({"real_only": True})
    assert config.synthetic_sets == [] and config.arms == ["real", "shuffled"]
    assert cas_settings(config, "skinlesnet")["arms"] == config.arms
    assert cas_settings(config, "hog_svm")["arms"] == config.arms
    with pytest.raises(MeddiffError, match=r"real_only: cas\.arms .*real, shuffled"):
        load_config({"real_only": True, "cas": {"arms": ["synthetic"]}})


@pytest.mark.parametrize(
    ("diffusion", "weights", "sets"),
    [
        ({"conditional": True}, [0, 0.5], ["guided-0", "guided-0.5"]),
        ({"conditional": True, "label_dropout": 0}, [0], ["guided-0"]),
        ({"conditional": True, "label_dropout": 0}, [0, 0.5], None),
        ({}, [0, 0.5], None),
    ],
)
def test_weights_of_guidance_are_refused_before_a_training_where_no_net_takes_them(
    diffusion, weights, sets
):
    """And a run that does not compare them goes on, since they have a default."""
    config = load_config({"diffusion": diffusion, "guidance": {"weights": weights}})
    assert guided_sets(config, ["results/table_5_2.csv"]) == (sets or [])
    for target in ("guidance", "results/guidance.csv", "results/figures/guidance.png"):
        if sets is None:
            with pytest.raises(MeddiffError, match=r"^guidance\.weights .*label_dropout") as caught:
                guided_sets(config, [target])
            assert "\n" not in str(caught.value)
        else:
            assert guided_sets(config, [target]) == sets


def test_every_training_that_saves_on_sigterm_gets_it_from_slurm_before_its_limit():
    """Rules by the scripts that they run, `use rule` included, beside the profile's resources."""
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    scripts = dict(re.findall(r"^rule (\w+):\n(?:(?!^\w).*\n)*?.*scripts/(\w+)\.py", rules, re.M))
    scripts |= {
        new: scripts[old] for old, new in re.findall(r"^use rule (\w+) as (\w+)", rules, re.M)
    }
    saving = {
        path.stem
        for path in (ROOT / "workflow/scripts").glob("*.py")
        if re.search(r"diffusion\.(latent\.)?launch import", path.read_text())
    }
    trainings = {rule for rule, script in scripts.items() if script in saving}
    assert trainings >= {"train_ddpm", "train_family", "train_autoencoder"}
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    signalled = {
        rule
        for rule, own in profile["set-resources"].items()
        if "TERM" in own.get("slurm_extra", "")
    }
    assert signalled == trainings


def test_resources_beside_a_profile_are_given_with_those_that_they_replace():
    """Snakemake's option takes the place of the whole list, in commands of pages and profiles."""
    shared = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    defaults = " ".join(shared["default-resources"])
    files = [*ROOT.glob("profiles/*/config.yaml"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    given = [
        each
        for path in files
        for each in re.findall(r"--default-resources[\s\\#]+([^`#\n]*)", path.read_text())
    ]
    assert len(given) >= 2 and all(each.startswith(defaults) for each in given), given


def test_profiles_name_files_that_exist():
    names = {path.name for path in (ROOT / "profiles").iterdir()}
    assert names - set(profiles()) == {"default", "slurm"}
    for profile, options in profiles().items():
        assert all((ROOT / "config" / name).is_file() for name in overlays_of(profile))
        assert options["directory"] == f"runs/{profile}"


@pytest.mark.parametrize(
    ("trained", "source", "expected"),
    [
        (None, "kaggle", ["unet", "skinlesnet", "resnet50"]),
        (["skinlesnet", "unet"], "kaggle", ["unet", "skinlesnet"]),
        ([], "kaggle", []),
        (["unet", "skinlesnet"], "mednist", []),
    ],
)
def test_chosen_nets_are_trained_where_the_images_allow_them(trained, source, expected):
    data = HANDS["data"] if source == "mednist" else {"source": source}
    config = load_config({"data": data, "extractors": {"trained": trained}})
    assert config.trained_extractors == expected
    outputs = final_outputs(config, [])
    assert ("results/table_5_1.csv" in outputs) == ("skinlesnet" in expected)
    assert ("results/figures/data/segmentation.png" in outputs) == ("unet" in expected)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ("{sampling: {guidance: 1}}", "sampling.guidance"),
        ("{diffusion: {preview: {guidance: 1}}}", "diffusion.preview.guidance"),
        (
            "{diffusion: {conditional: true, label_dropout: 0}, sampling: {guidance: 2}}",
            "sampling.guidance",
        ),
        (
            "{diffusion: {conditional: true, classes: {malignant: {epochs: 3}}}}",
            "classes.malignant.epochs",
        ),
        ("{diffusion: {classes: {all: {epochs: 3}}}}", "diffusion.classes names"),
        (
            "{diffusion: {conditional: true, classes: {all: {images: mine}}}}",
            "classes.all.images",
        ),
        ("{diffusion: {condition_on_augmentation: true}}", "condition_on_augmentation"),
        ("{diffusion: {augmentation: hand, latent: {}}}", "diffusion.augment_once"),
        ("{diffusion: {latent: {channels: [32, 32, 32, 32, 32]}}}", "data.size 32"),
        ("{diffusion: {latent: {channels: [30, 32]}}}", "norm_groups"),
        (
            "{diffusion: {augmentation: hand, augment_once: true, "
            "condition_on_augmentation: true}}",
            "augment_once",
        ),
        (
            "{diffusion: {augmentation: hand, condition_on_augmentation: true}, "
            "metrics: {augment_real: true}}",
            "metrics.augment_real",
        ),
    ],
)
def test_what_has_no_meaning_beside_conditions_is_refused(changes: str, key: str) -> None:
    with pytest.raises(MeddiffError) as caught:
        load_config(yaml.safe_load(changes))
    assert key in str(caught.value) and "\n" not in str(caught.value)


def test_one_net_draws_all_classes_and_takes_overrides_of_its_own() -> None:
    values = {"conditional": True, "classes": {"all": {"epochs": 3}, "malignant": {"epochs": None}}}
    config = load_config({"diffusion": values, "sampling": {"guidance": 1}})
    assert config.ddpms == {"benign": "all", "malignant": "all"}
    assert config.diffusion.for_class("all").epochs == 3
    assert load_config({}).ddpms == {"benign": "benign", "malignant": "malignant"}
    elsewhere = {"conditional": True, "classes": {"malignant": {"images": "mine"}}}
    assert load_config({"diffusion": elsewhere}).ddpms == {"benign": "all"}


def test_the_page_is_of_everything_or_of_what_is_made_if_asked_for_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = load_config({})
    of = lambda targets: set(page_inputs(cfg, ["ssim"], targets))  # noqa: E731
    first = of(["results/report.html"])
    assert {"results/table_5_2.csv", "results/table_5_2.json"} <= first
    assert not {path for path in first if "verdict" in path or "table_5_3" in path}
    assert of(None) == first, "a job of its own finds what has been made"
    whole = of([])
    assert first < whole and {"results/verdict.csv", "results/matrices/ssim.csv"} <= whole
    assert of(["all"]) == whole and "results/report.html" not in whole
    made = {"results/table_5_3.csv", "results/table_5_3.json", "results/audit/leakage.csv"}
    for path in made:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    assert of(["results/report.html"]) == first | made
    alone = of(["results/report.html", "results/verdict.csv"])
    assert alone == first | made | {"results/verdict.csv"}
    assert "results/audit/near_duplicates.png" in of(["audit", "results/report.html"]) - alone
