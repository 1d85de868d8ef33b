"""Parameters of rules: the settings that each script's jobs rerun for."""

from collections.abc import Callable
from typing import Any

from meddiff.workflow.config import Config
from meddiff.workflow.families import judge
from meddiff.workflow.imported import own_generator
from meddiff.workflow.provenance.digests import folder_digest
from meddiff.workflow.provenance.fingerprint import PACKAGE
from meddiff.workflow.sections import (
    cas_settings,
    dose_settings,
    origins,
    split_fractions,
    stamp,
    table_notes,
)

Params = dict[str, Any]


def by_script(cfg: Config) -> dict[str, Params]:
    """Return the settings that jobs depend on, by script; some are functions of wildcards.

    Rules add parameters that are no settings, such as digests of a user's folder, and override
    these where they reuse a script.
    """
    phases: list[Callable[[Config], dict[str, Params]]] = [
        _of_data, _of_audit, _of_ddpms, _of_extractors, _of_image_sets, _of_cas, _of_pictures,
    ]  # fmt: skip
    return {name: values for phase in phases for name, values in phase(cfg).items()}


def _of_data(cfg: Config) -> dict[str, Params]:
    data, phantom = cfg.data, cfg.data.phantom
    lesions = {"editions", "exact_duplicates", "near_duplicates"}
    masked = {"segmentation_train", "segmentation_test"}
    augmentation = cfg.diffusion.model_dump(include={"augmentation"})
    return {
        "draw_dermoscopy": {"editions": phantom.model_dump(include=lesions), "seed": cfg.seed},
        "draw_isic2016": {"counts": phantom.model_dump(include=masked), "seed": cfg.seed},
        "draw_mednist": {"hands": phantom.hands, "seed": cfg.seed},
        "download": {"file": "{file}"},
        "index": {
            "source": data.source,
            "policy": data.label_policy if cfg.source.challenge else None,
            "grey": data.is_grey,
            "near": data.near_duplicates,
            "classes": data.classes,
        },
        "index_segmentation": {"from_split": not cfg.source.isic2016},
        "split": _seeded(cfg) | {"protocol": cfg.protocol} | _shares(cfg),
        "image_sets": {"preprocessing": _packed(cfg) | {"grey": data.is_grey}},
        "augmented_set": {"augmentation": augmentation, "seed": cfg.seed},
        "segmentation_sets": {"preprocessing": _packed(cfg)},
        # As synthetic images that were made elsewhere are brought to the form of this run's.
        "import_images": {
            "preprocessing": {"size": data.size, "grey": data.is_grey},
            "reading": data.folder.model_dump(include={"window", "percentiles", "slices", "plane"}),
        },
    }


def _of_audit(cfg: Config) -> dict[str, Params]:
    # Tables on the data are of both protocols.
    stamped = {"stamp": {key: value for key, value in stamp(cfg).items() if key != "protocol"}}
    positive = cfg.data.classes[-1]
    return {
        "audit_tables": {"pairs": cfg.audit.worst_pairs, **stamped},
        "audit_leakage": {
            "official": cfg.source.isic2016,
            "ddpm_sets": cfg.diffusion.train_on,
            **_shares(cfg),
            **stamped,
        },
        "audit_encoding": {
            "settings": cfg.audit.encoding.model_dump(),
            "preprocessing": cfg.data.model_dump(include={"crop", "size"}),
            "seed": cfg.seed,
            "stamp": stamp(cfg),
        },
        "audit_halves": {
            "extractors": cfg.trained_extractors,
            "images": cfg.sampling.images,
            **_stamped(cfg),
            **_resampled(cfg),
        },
        "audit_trainings": {
            "cls": positive,
            "settings": cfg.diffusion.for_class(positive).model_dump(),
            "trainings": cfg.audit.trainings.model_dump(),
            "stamp": stamp(cfg),
        },
    }


def _of_ddpms(cfg: Config) -> dict[str, Params]:
    diffusion = cfg.diffusion
    together = list(cfg.ddpms) if diffusion.conditional else []
    kept = {"network", "schedule", "conditional", "label_dropout"}
    return {
        "train_ddpm": {
            "settings": lambda wildcards: diffusion.for_class(wildcards.cls).model_dump(),
            "seed": cfg.seed,
            "classes": together,
        },
        "import_ddpm": {
            "settings": lambda wildcards: diffusion.for_class(wildcards.cls).model_dump(
                include=kept
            ),
            "classes": together,
            **_shape(cfg),
        },
        "train_autoencoder": {
            "settings": diffusion.latent and diffusion.latent.model_dump(),
            "seed": cfg.seed,
        },
        "reconstruction": _stamped(cfg) | {"window": cfg.metrics.ssim.model_dump()},
        "sample": {"settings": cfg.sampling.model_dump(exclude={"shards"}), "seed": cfg.seed},
        "gather_samples": {"images": cfg.sampling.images},
        "check_samples": _stamped(cfg),
        "ddpm_figures": {
            "settings": cfg.sampling.model_dump(exclude={"images", "shards"}),
            "drawn": together,
            "every": diffusion.validation_every,
            "seed": cfg.seed,
        },
    }


def _of_extractors(cfg: Config) -> dict[str, Params]:
    nets = cfg.extractors
    return {
        "pretrained_weights": {"policy": lambda wildcards: nets.weights_policy(wildcards.net)},
        "train_unet": {"settings": nets.unet.model_dump(), "seed": cfg.seed},
        "train_classifier": {
            "settings": lambda wildcards: getattr(nets, wildcards.extractor).model_dump(
                exclude={"weights"}
            ),
            **_seeded(cfg),
        },
        "table_5_1": {
            "names": [name for name in cfg.trained_extractors if name != "unet"],
            "notes": table_notes(cfg),
            **_stamped(cfg),
            **_resampled(cfg),
        },
    }


def _of_image_sets(cfg: Config) -> dict[str, Params]:
    metrics, seeded, resampled = cfg.metrics, _seeded(cfg), _resampled(cfg)
    n_resamples = {"n_resamples": metrics.n_resamples}
    # A class's rows follow from its own images alone (meddiff verify).
    per_class = {"per_class": True}
    at_one_size = {"images": cfg.sampling.images, **resampled}
    likelihood = {"seed": cfg.seed, "images": metrics.likelihood_images}
    return {
        "noise": seeded | {"images": cfg.sampling.images},
        "distances": seeded | per_class | n_resamples,
        "similarity": {
            "settings": metrics.model_dump(exclude={"reference", "augment_real"}),
            **seeded,
            **per_class,
        },
        "table_5_2": {
            "reference": "+".join(cfg.reference_sets),
            "notes": table_notes(cfg),
            "imported": origins(cfg),
            "stamp": stamp(cfg),
        },
        "distance_matrix": at_one_size,
        "similarity_matrix": at_one_size
        | {"settings": metrics.model_dump(include={"ssim", "ms_ssim"})},
        "memorisation": seeded | resampled | {"drawn": list(cfg.ddpms)},
        "likelihood": likelihood | {"classes": list(cfg.ddpms), "stamp": stamp(cfg)},
        "family_scores": seeded | n_resamples | {"judge": judge(cfg)},
        "families": _stamped(cfg),
        "reader_study": {"stamp": stamp(cfg)},
        "guidance": _scoring(cfg)
        | {"extractors": cfg.trained_extractors + cfg.extractors.pretrained},
    }


def _of_cas(cfg: Config) -> dict[str, Params]:
    scoring, imported, dose = _scoring(cfg), {"imported": origins(cfg)}, cfg.cas.dose
    return {
        "cas_arms": {
            "settings": lambda wildcards: cas_settings(cfg, wildcards.classifier),
            "repetitions": cfg.cas.n_repeats,
            "equal_steps": cfg.protocol != "as_published",
            **_seeded(cfg),
        },
        "table_5_3": scoring | imported,
        "cas_doses": {
            "settings": dose_settings(cfg),
            "repetitions": dose.n_repeats,
            **_seeded(cfg),
        },
        "dose_response": {
            "fractions": dose.fractions,
            "ratios": dose.ratios,
            **scoring,
            **imported,
        },
        "cas_figures": _stamped(cfg),
        "verdict": scoring | imported | {"margin": cfg.cas.non_inferiority_margin},
        "generators": {
            "own": own_generator(cfg),
            "reference": "+".join(cfg.reference_sets),
            **scoring,
        },
    }


def _of_pictures(cfg: Config) -> dict[str, Params]:
    trained = cfg.trained_extractors
    page = _stamped(cfg) | {"templates": folder_digest(PACKAGE / "reporting/templates")}
    return {
        "data_figures": {"classes": cfg.data.classes},
        "extractor_curves": {"names": trained, "held_out": {"unet": "test"}},
        "report_page": page,
        "drawings": {
            "schedule": cfg.diffusion.schedule.model_dump(),
            "network": cfg.diffusion.network.model_dump(),
            "unet": cfg.extractors.unet.channels,
            "nets": ["ddpm", *trained],
            **_shape(cfg),
            **_seeded(cfg),
        },
        "gallery": page | {"trained": trained, "ddpms": [*cfg.ddpms]},
    }


def _seeded(cfg: Config) -> Params:
    return {"classes": cfg.data.classes, "seed": cfg.seed}


def _stamped(cfg: Config) -> Params:
    return {"classes": cfg.data.classes, "stamp": stamp(cfg)}


def _resampled(cfg: Config) -> Params:
    return {"n_resamples": cfg.metrics.n_resamples, "stamp": stamp(cfg)}


def _scoring(cfg: Config) -> Params:
    return _stamped(cfg) | _resampled(cfg) | {"specificity": cfg.cas.specificity}


def _shape(cfg: Config) -> Params:
    return {"size": cfg.data.size, "channels": 1 if cfg.data.is_grey else 3}


def _packed(cfg: Config) -> Params:
    return cfg.data.model_dump(include={"crop", "size", "decoding"})


def _shares(cfg: Config) -> Params:
    return {"fractions": split_fractions(cfg.split), "counts": cfg.kept}
