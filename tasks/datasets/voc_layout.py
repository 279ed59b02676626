"""Where Pascal VOC and its kin keep images, annotations and lists, told from the names of a set's files alone."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tasks.datasets.class_folders import is_image, is_junk
from tasks.datasets.object_checks import Findings
from tasks.datasets.paired_files import IMAGE_WORDS, key_of, split_of, wrapper
from tasks.datasets.sources import Source

XML_WORDS = frozenset({"annotation", "annotations", "label", "labels", "voc", "xml", "xmls"})
_LIST = re.compile(r"(?P<folder>.*/|)ImageSets/(?P<kind>\w+)/(?P<split>train|val|trainval|test)\.txt")


class Found(NamedTuple):
    """An image and the file that says what is in it."""

    split: str
    file: str
    name: str
    said_in: str


def is_devkit(files: Iterable[str], kind: str) -> bool:
    """Whether there are VOC's own lists of that kind (Main, Segmentation)."""
    return any((match := _LIST.fullmatch(file)) and match["kind"] == kind for file in files)


def listed_images(
    source: Source, files: Sequence[str], kind: str, said: tuple[str, str], findings: Findings
) -> Iterator[Found]:
    """The images of VOC's lists of that kind; years together. ``said`` is (folder, ending) of the rest.

    Official train and val are those; trainval counts where there is no train. A test of which nothing is said, as that
    of 2012, is no test here: a warning tells. Images and files that are missing are findings.
    """
    lists = [match for file in files if (match := _LIST.fullmatch(file)) and match["kind"] == kind]
    folders = sorted({match["folder"] for match in lists})
    above = len(os.path.commonpath(folders)) + 1 if len(folders) > 1 and all(folders) else len(folders[0])
    here, stems = set(files), _images_by_stem(files)
    for folder in folders:
        by_split = {match["split"]: match[0] for match in lists if match["folder"] == folder}
        for split, list_file in _splits(by_split):
            named = _stems(source, list_file)
            saying = {stem: f"{folder}{said[0]}/{stem}{said[1]}" for stem in named}
            if split == "test" and named and not here & {*saying.values()}:
                findings.warning("lists are left out, since nothing is said of any of their images", [list_file])
                continue
            images = {stem: stems.get(f"{folder}JPEGImages/{stem}", "") for stem in named}
            findings.error(
                f"of {len(named):,} images of {list_file} are not there", [s for s in named if not images[s]]
            )
            lost = [saying[stem] for stem in named if saying[stem] not in here]
            findings.error(f"files of {len(named):,} that say what is in images of {list_file} are not there", lost)
            for stem, image in images.items():
                if image and saying[stem] in here:
                    yield Found(split, image, image[above:], saying[stem])


def paired_images(files: Sequence[str], findings: Findings) -> Iterator[Found]:
    """Images with the XML of their name, beside it or in a folder called alike."""
    top = wrapper(files)
    kinds = IMAGE_WORDS | XML_WORDS
    images, said = ({key_of(file.removeprefix(top), kinds): file for file in each} for each in _apart(files))
    findings.error(
        "images have no XML of their name (one without objects makes an image a negative)",
        [file for key, file in images.items() if key not in said],
    )
    findings.error("XML files have no image of their name", [file for key, file in said.items() if key not in images])
    for each, held in zip(_apart(files), (images, said), strict=True):
        findings.error("files have the name of another", sorted({*each} - {*held.values()}))
    for key, file in images.items():
        if key in said:
            yield Found(split_of(key), file, file.removeprefix(top), said[key])


def _apart(files: Iterable[str]) -> tuple[list[str], list[str]]:
    """The images, and the XML files."""
    kept = [file for file in files if not is_junk(file)]
    return [file for file in kept if is_image(file)], [file for file in kept if file.lower().endswith(".xml")]


def _splits(lists: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each split with the list that says what is in it."""
    yield from ((split, lists[split]) for split in ("train", "val", "test") if split in lists)
    if "trainval" in lists and "train" not in lists:
        yield "train", lists["trainval"]


def _stems(source: Source, list_file: str) -> list[str]:
    """What the list names. Raises ``ValueError`` for what is no list of names, or leaves the set's folder."""
    try:
        stems = [line.strip() for line in source.read(list_file).decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{list_file} is not UTF-8 text: {error}") from error
    if strange := [stem for stem in stems if "/" in stem or "\\" in stem]:
        raise ValueError(f"{list_file} names {strange[0]!r}; a name has no folders")
    if twice := len(stems) - len(set(stems)):
        raise ValueError(f"{list_file} names {twice} images more than once")
    return stems


def _images_by_stem(files: Iterable[str]) -> dict[str, str]:
    return {file.rpartition(".")[0]: file for file in files if is_image(file)}
