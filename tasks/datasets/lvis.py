"""lvis:PATH[#ANNOTATIONS][?images=PATH] - LVIS v1: objects of many classes, each image searched for some of them.

For instance ``lvis:lvis?images=coco``: ``lvis_v1_train.json`` and ``lvis_v1_val.json`` in one folder, COCO's images
(``train2017/`` and ``val2017/``, or stored zips of them) in another. Beside what ``coco:`` reads, each image says which
classes are not in it and of which classes not all are annotated, and each class how frequent it is in train.
"""

from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.coco import open_coco

USUAL = ("lvis_v1",)


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open LVIS; ``Dataset.frequency`` holds r, c or f of each class, in the order of the classes.

    Raises ``FileNotFoundError`` for what is not there and ``ValueError`` with everything that must be mended.
    """
    dataset = open_coco("lvis", reference, options, USUAL, federated=True)
    if dataset.frequency is None:
        raise ValueError(f"dataset {dataset.name!r}: not every category has a frequency of r, c or f, as LVIS has")
    return dataset


DATASETS = {"lvis": read}
