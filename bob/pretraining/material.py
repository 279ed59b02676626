"""The images of a dataset to train on: of which part, and what is known of them. Labels are never read."""

from typing import Any, NamedTuple

from backbones.images import Images
from backbones.plugins import unknown
from tasks.catalogue import DATASETS, known_dataset, open_dataset
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.joined import SomeImages
from tasks.datasets.partition import unlearnt_part

PARTS = ("train", "val", "test", "query", "gallery", "all")
UNTESTED = "all but what is tested"


class Material(NamedTuple):
    """``part`` says what ``images`` are of ``dataset``."""

    dataset: Dataset
    part: str
    images: Images

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the numbers, as plain values."""
        return {
            "dataset": self.dataset.name,
            "part": self.part,
            "manifest_sha256": self.dataset.manifest_sha256,
            "images": len(self.images),
        }


def material(reference: str, options: OpenOptions) -> Material:
    """Open ``DATASET[:PART]``.

    Without a part: train; of a set that has no parts, all but the images that tasks test on, and all of them where
    nothing is known of any. Raises ``ValueError`` or ``OSError``.
    """
    name, part = _taken_apart(reference, options)
    dataset = open_dataset(name, options)
    part = part or next((each for each in ("train", "all") if each in dataset.splits), "train")
    if part not in dataset.splits:
        raise ValueError(f"--data: {unknown(f'part of {dataset.name}', part, dataset.splits)}")
    images = dataset.splits[part].images
    if not len(images):
        raise ValueError(f"--data: the {part} of {dataset.name} holds no images")
    if part == "all" and not reference.endswith(":all") and dataset.target != "nothing":
        tested = set(unlearnt_part(dataset).rows.tolist())
        if rest := tuple(row for row in range(len(images)) if row not in tested):
            return Material(dataset, UNTESTED, SomeImages(images, rest))
    return Material(dataset, part, images)


def _taken_apart(reference: str, options: OpenOptions) -> tuple[str, str]:
    """The dataset's name and the part's; ``images:train`` is the folder ``train`` where there is one."""
    name, _, part = reference.rpartition(":")
    if not name or part not in PARTS or (name in DATASETS.found and _is_file(part, options)):
        return reference, ""
    known_dataset(name)
    return name, part


def _is_file(path: str, options: OpenOptions) -> bool:
    return any((root / path).exists() for root in options.places.roots)
