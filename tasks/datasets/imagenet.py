"""imagenet:FOLDER[#1%|10%] - ImageNet-1k as people have it: class folders, a flat val, or the archives, not unpacked.

Train and val are looked for one by one: ``train/WNID/`` or ``ILSVRC2012_img_train.tar``; ``val/WNID/``, or a flat
``val/`` or ``ILSVRC2012_img_val.tar`` with labels from elsewhere. Classes are WordNet ids, in the official order, which
is sorted; an image has the same name in every layout, so the manifest is the same too. ``imagenet:hub`` is the copy of
the Hugging Face hub, which asks for an account; its order of classes is the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tasks.datasets import huggingface_sets
from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_image, is_junk
from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.imagenet_val_labels import ARCHIVES_FROM, val_labels
from tasks.datasets.listed import find_list, inside, read_lines
from tasks.datasets.manifest import Item
from tasks.datasets.references import parse
from tasks.datasets.sources import Source, printable, some
from tasks.datasets.tar_source import TarFiles

SUBSETS = {"1%": "1percent.txt", "10%": "10percent.txt"}
SUBSETS_FROM = "https://github.com/google-research/simclr/tree/master/imagenet_subsets"
KAGGLE = "ILSVRC/Data/CLS-LOC"
HUB = "ILSVRC/imagenet-1k"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open what is there of train and val. ``#1%`` and ``#10%`` keep of train what SimCLR's lists name.

    Raises ``FileNotFoundError`` naming the file that is missing and where to get it, and ``ValueError`` for a class
    that is not among the 1,000, an image without a label, or a listed image that is not there.
    """
    parts = parse(reference, "imagenet", ())
    if parts.part not in ("", *SUBSETS):
        raise ValueError(f"dataset 'imagenet:{reference}': part {parts.part!r}; choose from {', '.join(SUBSETS)}")
    if parts.path == "hub" and not parts.part:
        return _from_hub(options)
    root = options.places.find(parts.path, "ImageNet folder")
    sources = {split: found for split in ("train", "val") if (found := _source(split, root))}
    if not sources:
        raise FileNotFoundError(
            f"{root} has neither train/ nor val/, neither ILSVRC2012_img_train.tar nor ILSVRC2012_img_val.tar; "
            f"get them from {ARCHIVES_FROM}"
        )
    classes = wordnet_ids()
    items = [*_train(sources, classes)]
    if parts.part:
        lists = [place / "imagenet_subsets" for place in (root, *options.places.roots)]
        items = _listed(items, find_list([SUBSETS[parts.part]], [*lists, root], SUBSETS_FROM))
    items += _val(sources, classes, root)
    source = SplitFiles(f"ImageNet in {root}", sources)
    return assemble(Found(f"imagenet:{reference}", source, items, classes, str(parts.path)), options)


@dataclass(frozen=True)
class SplitFiles:
    """A source a split, as files ``split/NAME``."""

    location: str
    parts: Mapping[str, Source] = field(repr=False)

    def files(self) -> Sequence[str]:
        """Names, sorted."""
        return sorted(f"{split}/{file}" for split, part in self.parts.items() for file in part.files())

    def folders(self) -> Sequence[str]:
        """None: classes are known, and need no folder."""
        return ()

    def stamp(self, name: str) -> str:
        """The stamp of the split's own file."""
        split, _, file = name.partition("/")
        return self.parts[split].stamp(file)

    def read(self, name: str) -> bytes:
        """The encoded bytes of one image."""
        split, _, file = name.partition("/")
        return self.parts[split].read(file)


def wordnet_ids() -> tuple[str, ...]:
    """The 1,000 classes in the order of every published classifier, as timm ships them."""
    from timm.data.imagenet_info import ImageNetInfo

    names: list[str] = ImageNetInfo("imagenet-1k").label_names()  # type: ignore[no-untyped-call]
    return tuple(names)


def _from_hub(options: OpenOptions) -> Dataset:
    dataset = huggingface_sets.read(HUB, options)
    classes = wordnet_ids()
    if len(dataset.classes) != len(classes):
        raise ValueError(f"huggingface:{HUB} has {len(dataset.classes)} classes, not {len(classes)}")
    return replace(dataset, classes=classes)


def _source(split: str, root: Path) -> Source | None:
    for base in (root, root / KAGGLE, root / "Data" / "CLS-LOC"):
        if (base / split).is_dir():
            return FolderFiles(base / split)
    archive = root / f"ILSVRC2012_img_{split}.tar"
    return TarFiles(archive) if archive.is_file() else None


def _images(source: Source) -> list[str]:
    return [file for file in source.files() if is_image(file) and not is_junk(file)]


def _train(sources: Mapping[str, Source], classes: Sequence[str]) -> Iterator[Item]:
    if "train" in sources:
        yield from _in_class_folders("train", _images(sources["train"]), sources["train"], classes)


def _val(sources: Mapping[str, Source], classes: Sequence[str], root: Path) -> Iterator[Item]:
    if "val" not in sources:
        return
    images = _images(sources["val"])
    flat = [file for file in images if "/" not in file]
    yield from _in_class_folders("val", [file for file in images if "/" in file], sources["val"], classes)
    labels = val_labels(root) if flat else {}
    known = set(classes)
    if lost := [file for file in flat if labels.get(file.partition(".")[0]) not in known]:
        raise ValueError(
            f"{len(lost)} images of {sources['val'].location} have no label among the 1,000 WordNet ids: {some(lost)}"
        )
    for file in flat:
        label = labels[file.partition(".")[0]]
        yield Item("val", label, f"val/{file}", f"val/{label}/{file}")


def _in_class_folders(split: str, files: Sequence[str], source: Source, classes: Sequence[str]) -> Iterator[Item]:
    known = set(classes)
    for file in files:
        label = file.partition("/")[0]
        if label not in known:
            raise ValueError(
                f"{source.location}: {printable(label)!r} is none of the 1,000 WordNet ids of ImageNet-1k; "
                f"other class folders are opened as images:FOLDER"
            )
        yield Item(split, label, f"{split}/{file}", f"{split}/{file}")


def _listed(items: Sequence[Item], path: Path) -> list[Item]:
    by_name = {item.file.rpartition("/")[2]: item for item in items}
    names = list(dict.fromkeys(inside(line, path).rpartition("/")[2] for line in read_lines(path)))
    if missing := [name for name in names if name not in by_name]:
        raise ValueError(f"{len(missing)} of {len(names)} images that {path} lists are not in train: {some(missing)}")
    return [by_name[name] for name in names]


DATASETS = {"imagenet": read}
