"""yolo:PATH[#LIST] - a set in YOLO's text labels with its data.yaml, a folder or a stored zip.

``LIST`` is the YAML where there are several. For instance ``yolo:my_set``: ``data.yaml`` names the classes and, if it
does, the folders of train, val and test; of ``images/train/1.jpg`` the labels are in ``labels/train/1.txt``, a line an
object: ``CLASS CENTRE_X CENTRE_Y WIDTH HEIGHT``, or ``CLASS X Y X Y X Y ...``, its outline; in parts of the image's
width and height. An image without such a file, or with an empty one, is a negative.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from tasks.datasets.annotated_images import Annotated, Picture, Row, assemble_objects, sizes_of
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_image, is_junk
from tasks.datasets.listed_classes import find_listing, numbered_names, read_text, read_yaml_of
from tasks.datasets.object_checks import Findings
from tasks.datasets.paired_files import IMAGE_WORDS, key_of, split_of, wrapper
from tasks.datasets.references import open_source, parse
from tasks.datasets.sources import Source
from tasks.datasets.yolo_labels import read_labels

SPLITS = ("train", "val", "test")
HINT = "say #FILE, or put a data.yaml with 'names: [FIRST, SECOND, ...]' beside images/ and labels/"


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open a set; outlines are kept where every object has one.

    Raises ``FileNotFoundError`` for what is not there and ``ValueError`` with everything that must be mended.
    """
    parts = parse(reference, "yolo", ())
    source = open_source(parts.path, options.places)
    files = [file for file in source.files() if not is_junk(file)]
    findings = Findings()
    try:
        top = wrapper(files)
        listing = find_listing(files, top, parts.part, (".yaml", ".yml"), HINT)
        content = read_yaml_of(source, listing)
        classes = numbered_names(content.get("names") if isinstance(content, Mapping) else content, listing)
        images = [*_images(source, files, content, top)]
    except ValueError as error:
        raise ValueError(f"dataset 'yolo:{reference}': {error}") from error
    pictures = _pictures(source, images, files, top, options, findings)
    outlined = _all_outlined(pictures, findings)
    found = Annotated(
        f"yolo:{reference}",
        source,
        pictures,
        tuple(classes[value] for value in sorted(classes)),
        {value: label for label, value in enumerate(sorted(classes))},
        parts.path,
        outlined=outlined,
    )
    return assemble_objects(found, findings, options)


def _images(source: Source, files: Sequence[str], content: Any, top: str) -> Iterator[tuple[str, str]]:
    """Split and file of every image: by the folders and lists the YAML names, or else by the folders' own names."""
    images = [file for file in files if is_image(file)]
    named = {split: content[split] for split in SPLITS if isinstance(content, Mapping) and content.get(split)}
    if not named:
        yield from ((split_of(key_of(file.removeprefix(top), IMAGE_WORDS)), file) for file in images)
    for split, places in named.items():
        for place in places if isinstance(places, list) else [places]:
            if not isinstance(place, str):
                raise ValueError(f"{split}: {place!r} is no folder or list of images")
            yield from ((split, file) for file in _in_place(source, files, images, top, place))


def _in_place(source: Source, files: Sequence[str], images: Sequence[str], top: str, place: str) -> list[str]:
    """The images below a folder, or those a text file names. Raises ``ValueError`` where there are none."""
    for path in _paths(place, top):
        if path in files:
            here = {*images}
            lines = [line.strip() for line in read_text(source, path).splitlines() if line.strip()]
            found = {line: next((each for each in _paths(line, top) if each in here), "") for line in lines}
            if lost := [line for line, file in found.items() if not file]:
                raise ValueError(f"{path} names {len(lost)} images that are not there, the first of them {lost[0]!r}")
            return [*found.values()]
        if below := [file for file in images if file.startswith(f"{path}/".removeprefix("/"))]:
            return below
    raise ValueError(f"no image below {place!r}, which the list of classes names, in {source.location}")


def _paths(place: str, top: str) -> Iterator[str]:
    """Where in the set a path may lead. Of one from outside it, as another machine's, only its end counts.

    >>> [*_paths("./images/train", "")], [*_paths("../set/train", "")]
    (['images/train'], ['set/train', 'train'])
    """
    path = PurePosixPath(place.replace("\\", "/"))
    words = [word for word in path.parts if word not in ("..", "/")]
    outside = path.is_absolute() or ".." in path.parts
    for start in range(max(1, len(words)) if outside else 1):
        yield (top + "/".join(words[start:])).removesuffix("/")


def _pictures(
    source: Source,
    images: Iterable[tuple[str, str]],
    files: Sequence[str],
    top: str,
    options: OpenOptions,
    findings: Findings,
) -> list[Picture]:
    images = [*images]
    sizes = sizes_of(source, [file for _, file in images], options, findings)
    said = {file: _label_file(file) for _, file in images}
    here, wrong, pictures = {*files}, list[str](), list[Picture]()
    for split, file in images:
        rows, mistakes = list[Row](), list[str]()
        if file in sizes and said[file] in here:
            rows, mistakes = read_labels(source.read(said[file]), sizes[file])
        wrong += [f"{said[file]} {mistake}" for mistake in mistakes]
        pictures.append(Picture(split, file, file.removeprefix(top), rows))
    findings.error("lines are no object, like '0 0.5 0.5 0.2 0.1' or '0 0.1 0.1 0.2 0.1 0.2 0.3'", wrong)
    used = {*said.values()}
    strays = [file for file in files if file.endswith(".txt") and "labels" in file.split("/")[:-1] and file not in used]
    findings.warning("label files have no image of their name among those read; ignored", strays)
    return pictures


def _label_file(image: str) -> str:
    """In the folder called labels instead of the (last) one called images, or beside the image.

    >>> _label_file("set/images/train/1.jpg"), _label_file("set/1.jpg")
    ('set/labels/train/1.txt', 'set/1.txt')
    """
    folders = image.split("/")[:-1]
    if "images" in folders:
        folders[len(folders) - 1 - folders[::-1].index("images")] = "labels"
    return "/".join([*folders, f"{PurePosixPath(image).stem}.txt"])


def _all_outlined(pictures: Iterable[Picture], findings: Findings) -> bool:
    """Whether all objects have an outline; a warning where only some do, whose outlines then go unread."""
    outlined = [(row.outline is not None, picture.name) for picture in pictures for row in picture.rows]
    if any(has for has, _ in outlined):
        lacking = [name for has, name in outlined if not has]
        findings.warning("objects have no outline, so those of all others are not read", lacking)
        return not lacking
    return False


DATASETS = {"yolo": read}
