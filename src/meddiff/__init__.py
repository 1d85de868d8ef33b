"""Are diffusion-generated medical images good enough to replace real ones?

Modules are imported on first use: `import meddiff` itself is fast.
"""

from typing import TYPE_CHECKING

from meddiff.core.lazy import lazy_names

if TYPE_CHECKING:
    from meddiff import metrics
    from meddiff.assessment.evaluate import Evaluation, evaluate
    from meddiff.assessment.report import write_report
    from meddiff.cas.settings import CasSettings
    from meddiff.core.errors import MeddiffError
    from meddiff.data.image_sets import ImageSet
    from meddiff.data.listing import list_images
    from meddiff.diffusion.sampling.generate import generate
    from meddiff.evaluation.duplicates import find_duplicates
    from meddiff.evaluation.image_sets import read_image_set
    from meddiff.evaluation.monitor import ImageQuality
    from meddiff.extractors.pretrained import load_extractor

__version__ = "0.1.0"

__all__ = [
    "CasSettings",
    "Evaluation",
    "ImageQuality",
    "ImageSet",
    "MeddiffError",
    "evaluate",
    "find_duplicates",
    "generate",
    "list_images",
    "load_extractor",
    "metrics",
    "read_image_set",
    "write_report",
]

__getattr__ = lazy_names(
    __name__,
    {
        "CasSettings": "meddiff.cas.settings",
        "Evaluation": "meddiff.assessment.evaluate",
        "ImageQuality": "meddiff.evaluation.monitor",
        "ImageSet": "meddiff.data.image_sets",
        "MeddiffError": "meddiff.core.errors",
        "evaluate": "meddiff.assessment.evaluate",
        "find_duplicates": "meddiff.evaluation.duplicates",
        "generate": "meddiff.diffusion.sampling.generate",
        "list_images": "meddiff.data.listing",
        "load_extractor": "meddiff.extractors.pretrained",
        "metrics": "meddiff.metrics",
        "read_image_set": "meddiff.evaluation.image_sets",
        "write_report": "meddiff.assessment.report",
    },
)
