"""sim10k:PATH[?classes=NAMES] - Sim10k, street scenes of a game in Pascal VOC's XML; of its classes cars alone.

For instance ``sim10k:sim10k``, the folder of both archives unpacked (``VOC2012/JPEGImages``, ``VOC2012/Annotations``),
as the study and those before it learn from it; ``?classes=car,motorbike,person`` keeps all three classes.
"""

from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_junk
from tasks.datasets.object_checks import Findings
from tasks.datasets.references import open_source, parse
from tasks.datasets.voc import open_voc
from tasks.datasets.voc_layout import paired_images


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open every image as train: there are no official parts, and what is tested on is another set (Cityscapes).

    Raises ``FileNotFoundError`` for what is not there and ``ValueError`` with everything that must be mended.
    """
    parts = parse(reference, "sim10k", ("classes",))
    source = open_source(parts.path, options.places)
    findings = Findings()
    files = [file for file in source.files() if not is_junk(file)]
    images = [found._replace(split="train") for found in paired_images(files, findings)]
    asked = tuple(name.strip() for name in parts.settings.get("classes", "car").split(","))
    return open_voc(f"sim10k:{reference}", source, images, asked, parts.path, findings, options)


DATASETS = {"sim10k": read}
