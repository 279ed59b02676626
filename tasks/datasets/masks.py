"""masks:PATH[?classes=FILE][&void=VALUES] - images with a map of classes each, with train/val/test if there.

The map of an image has its name in a folder called alike but for one word: ``images/train/1.jpg`` and
``masks/train/1.png`` (or ``annotations/``, ``labels/``, ...), ``train/1.jpg`` and ``semantic_train/1.png``. For
instance ``masks:coco_mini.zip`` or ``masks:my_set?classes=classes.txt&void=0,255``: a list of classes is YAML (a
mapping of values to names, or a list, alone or under ``classes`` or ``names``) or text with a name a line, from 0.
"""

from collections.abc import Iterable, Mapping, Sequence

from tasks.datasets.assembly import Found
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_image, is_junk
from tasks.datasets.label_maps import VOID
from tasks.datasets.listed_classes import find_listing, numbered_names, read_text, read_yaml_of
from tasks.datasets.manifest import Item
from tasks.datasets.paired_files import IMAGE_WORDS, Key, folder_words, key_of, split_of, wrapper
from tasks.datasets.pixel_classes import PixelClasses, assemble_maps
from tasks.datasets.references import open_source, parse
from tasks.datasets.sources import Source, printable, some

MAP_WORDS = frozenset(
    {"mask", "masks", "annotation", "annotations", "label", "labels", "map", "maps", "semantic", "segmentation"}
)
VOID_NAMES = frozenset({"unlabeled", "unlabelled", "void", "ignore", "ignored"})
LIST_ENDINGS = (".yaml", ".yml", ".txt")
LIST_HINT = (
    "say ?classes=FILE, or put a classes.txt with a name a line (the first is value 0) or a classes.yaml of values and "
    "names beside the folders"
)


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open images with a map of classes each.

    Pixels are of no class (void) where the map has a value that ``?void=`` names; where it is not given, 255 unless the
    list names it, and values whose class is called ``unlabeled`` or the like, which a warning then tells.
    Raises ``FileNotFoundError`` naming the places looked in, and ``ValueError`` naming images without a map, two maps
    of one image, and maps of another size, of values without a class, or that are no maps.
    """
    parts = parse(reference, "masks", ("classes", "void"))
    name = f"masks:{reference}"
    source = open_source(parts.path, options.places)
    try:
        if parts.part:
            raise ValueError(f"part {parts.part!r}; such sets have no parts, name the folder itself")
        files = [file for file in source.files() if not is_junk(file)]
        top = wrapper(files)
        named = _class_names(source, files, top, parts.settings.get("classes", ""))
        pixel_classes, notes = _void_apart(named, parts.settings.get("void"))
        items, left = _items(files, top)
    except ValueError as error:
        raise ValueError(f"dataset {name!r}: {error}") from error
    found = Found(
        name, source, items, pixel_classes.classes, parts.path,
        warnings=(*notes, *left), target="pixels", meaning=pixel_classes.meaning,
    )  # fmt: skip
    return assemble_maps(found, pixel_classes.known, options)


def _items(files: Iterable[str], top: str) -> tuple[list[Item], list[str]]:
    """Every image with its map, and a warning where maps have no image."""
    images, maps = dict[Key, str](), dict[Key, str]()
    for file in filter(is_image, files):
        name = file.removeprefix(top)
        key, is_map = key_of(name, IMAGE_WORDS | MAP_WORDS), _is_map(name)
        held = maps if is_map else images
        if key in held:
            what = "the map" if is_map else "an image"
            raise ValueError(f"{printable(held[key])} and {printable(file)} are both {what} of one name; rename one")
        held[key] = file
    if not maps:
        raise ValueError(
            f"no map among {len(images)} images; maps are in folders with a word of {', '.join(sorted(MAP_WORDS))} "
            "in their names"
        )
    if lost := [file for key, file in images.items() if key not in maps]:
        raise ValueError(f"{len(lost)} of {len(images)} images have no map of their name: {some(lost)}")
    spare = [file for key, file in maps.items() if key not in images]
    items = [Item(split_of(key), "", file, file.removeprefix(top), map=maps[key]) for key, file in images.items()]
    return items, [f"{len(spare)} maps without an image were ignored: {some(spare)}"] if spare else []


def _is_map(name: str) -> bool:
    return any(word.lower() in MAP_WORDS for word in folder_words(name))


def _class_names(source: Source, files: Sequence[str], top: str, asked: str) -> dict[int, str]:
    """The name of each value, from the file asked for, or from the only list of classes at the top of the set."""
    file = find_listing(files, top, asked, LIST_ENDINGS, LIST_HINT)
    if file.lower().endswith("txt"):
        return dict(enumerate(line.strip() for line in read_text(source, file).strip().splitlines()))
    content = read_yaml_of(source, file)
    if isinstance(content, Mapping):
        content = next((content[key] for key in ("classes", "names") if key in content), content)
    return numbered_names(content, printable(file))


def _void_apart(named: Mapping[int, str], asked: str | None) -> tuple[PixelClasses, list[str]]:
    """The classes without what is void, and a warning where that was told by a name alone."""
    if asked is not None:
        texts = [text.strip() for text in asked.split(",") if text.strip()]
        if wrong := [text for text in texts if not text.isdecimal()]:
            raise ValueError(f"void={wrong[0]!r}; give the values of pixels of no class, like void=0,255")
        void, notes = {int(text) for text in texts}, list[str]()
    else:
        called = {value: name for value, name in named.items() if name.lower() in VOID_NAMES}
        void = {*called, *({VOID} - set(named))}
        notes = [
            f"pixels of value {value} ({name}) are of no class; ?void= says otherwise" for value, name in called.items()
        ]
    return PixelClasses({value: name for value, name in named.items() if value not in void}, frozenset(void)), notes


DATASETS = {"masks": read}
