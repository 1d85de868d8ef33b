"""`meddiff readers make` and `meddiff readers score`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meddiff.core.console import say
from meddiff.core.errors import MeddiffError

DESCRIPTION = """Can people tell these synthetic images from real ones? `make` writes one blinded
page, which needs no server, and its key; readers save their answers as a file; `score` gives
accuracy, d', AUC and agreement with intervals."""

ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "action": {"choices": ["make", "score"], "help": "write the page, or score answers"},
    "paths": {
        "type": Path,
        "nargs": "+",
        "metavar": "PATH",
        "help": "make: a run directory, or real and synthetic images as `meddiff evaluate` reads "
        "them; score: the files that readers saved",
    },
    "--out": {
        "type": Path,
        "metavar": "FOLDER",
        "help": "where to write (make: reader_study, in the run directory if there is one; score: "
        "beside the key)",
    },
    "--key": {
        "type": Path,
        "metavar": "FILE",
        "help": "score: the key that `make` wrote (reader_study/key.csv)",
    },
    "--design": {
        "choices": ["single", "pairs", "choice"],
        "default": "single",
        "help": "make: one image with a confidence of 1 to 6, a real and a synthetic one, or one "
        "synthetic image among several (single)",
    },
    "--trials": {"type": int, "default": 80, "help": "make: questions, without repeats (80)"},
    "--choices": {"type": int, "default": 4, "help": "make: images per `choice`, 3 to 9 (4)"},
    "--repeats": {
        "type": float,
        "default": 0.1,
        "help": "make: share of the questions repeated unannounced (0.1)",
    },
    "--class": {"action": "append", "dest": "classes", "metavar": "NAME",
                "help": "make: a class to ask about; may be repeated (all)"},
    "--real-set": {
        "choices": ["train", "validation", "test"],
        "default": "train",
        "help": "make: real images of a run (train)",
    },
    "--size": {
        "type": int,
        "default": 64,
        "help": "make: side in px of images from files, 18 or more (64)",
    },
    "--language": {
        "default": "en",
        "metavar": "CODE|FILE",
        "help": "make: en, es, or a file of texts in their form (en)",
    },
    "--seed": {"type": int, "default": 0, "help": "make: fixes images, order and names (0)"},
}  # fmt: skip


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """Write the page of a study, or the scores of its answers."""
    return _make(options) if options.action == "make" else _score(options)


def _make(options: argparse.Namespace) -> int:
    from meddiff.core.files import write_csv, write_text
    from meddiff.reader_study.design import draw_trials
    from meddiff.reader_study.images import chosen_classes, images_of_paths, images_of_run
    from meddiff.reader_study.page import build_study, check_encoding, read_language

    if len(options.paths) > 2:
        raise MeddiffError("readers make takes a run directory, or real and synthetic images")
    folder = options.paths[0] if len(options.paths) == 1 else Path()
    out = options.out or folder / "reader_study"
    if (key_file := out / "key.csv").exists():
        raise MeddiffError(
            f"{key_file} is there already, and readers may have its page: give another --out, or "
            "score their answers with `meddiff readers score`"
        )
    language = read_language(options.language)
    if len(options.paths) == 1:
        images, names = images_of_run(options.paths[0], options.real_set)
    else:
        images, names = images_of_paths(options.paths[0], options.paths[1], options.size)
    images = chosen_classes(images, options.classes)
    counts = {
        cls: {name: len(of_set[cls]) for name, of_set in images.items()} for cls in images["real"]
    }
    trials = draw_trials(counts, options.design, n_trials=options.trials, choices=options.choices,
                         repeats=options.repeats, seed=options.seed)  # fmt: skip
    check_encoding(images, seed=options.seed)
    study = build_study(images, names, trials, options.design, language, seed=options.seed)
    write_csv(study.key, key_file)
    write_text(study.page, out / "study.html")
    say(f"{out / 'study.html'}: {len(trials)} questions, to send to readers")
    say(f"{key_file}: what each image is; keep it to yourself until all have answered")
    (out / "answers").mkdir(exist_ok=True)
    say(f"{out / 'answers'}: put the files there that readers save; then `meddiff readers score`")
    return 0


def _score(options: argparse.Namespace) -> int:
    from meddiff.core.files import write_csv, write_text
    from meddiff.reader_study.answers import OVER_READERS, read_answers, read_key
    from meddiff.reader_study.score import image_table, imrmc_input, reader_table

    key_file = options.key or Path("reader_study/key.csv")
    key = read_key(key_file)
    answers = read_answers(options.paths, key)
    out = options.out or key_file.parent
    table = reader_table(answers, key)
    write_csv(table, out / "reader_study.csv")
    write_csv(image_table(answers, key), out / "reader_study_images.csv")
    if (ratings := imrmc_input(answers, key)) is not None:
        write_text(ratings, out / "reader_study.imrmc")
    over = table[table["reader"] == OVER_READERS]
    say(f"{len(answers)} readers, {key.loc[key['repeat'] == 0, 'trial'].nunique()} questions")
    for row in over.to_dict("records"):
        say(f"{row['metric']:<18} {row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]")
    say(f"wrote {out / 'reader_study.csv'} and {out / 'reader_study_images.csv'}")
    return 0
