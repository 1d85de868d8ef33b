"""Read the synthetic images of one class that were made elsewhere."""

from meddiff.core.arrays import save_array
from meddiff.data.imported import Selection, import_images
from meddiff.data.index import read_index
from meddiff.data.preprocessing.files import Preprocessing
from meddiff.data.readers.settings import Reading
from meddiff.data.readers.windows import windows_of
from meddiff.workflow.imported import place_of
from meddiff.workflow.jobs import job

params, output = snakemake.params, snakemake.output
with job(snakemake):
    images = import_images(
        # Where the images lie is no parameter of the rule: their contents are.
        place_of(snakemake.config, snakemake.wildcards.imported),
        Selection(**{name: params.source[name] for name in Selection.__annotations__}),
        Preprocessing(crop=None, **params.preprocessing),
        reading=Reading.model_validate(params.reading),
        windows=windows_of(read_index(snakemake.input[0])),
    )
    save_array(images, output[0])
