"""unlabelled:PATH[#SUBFOLDER] - every image below a folder or in a zip, without labels: to pretrain on.

For instance ``unlabelled:photos`` (a folder of any depth) or ``unlabelled:pacs.zip#photo``. What folders are called
means nothing, so there are no parts: all of it is ``all``.
"""

from tasks.datasets.assembly import Found, assemble
from tasks.datasets.base import Dataset, OpenOptions
from tasks.datasets.class_folders import is_image, is_junk
from tasks.datasets.manifest import Item
from tasks.datasets.references import open_source, parse
from tasks.datasets.sources import some


def read(reference: str, options: OpenOptions) -> Dataset:
    """Open a folder or zip of images. Raises ``FileNotFoundError``, and ``ValueError`` where it holds no images."""
    parts = parse(reference, "unlabelled", ())
    source = open_source(parts.path, options.places)
    start = f"{parts.part}/" if parts.part else ""
    files = [name for name in source.files() if name.startswith(start) and not is_junk(name)]
    items = tuple(Item("all", "", name, name.removeprefix(start)) for name in files if is_image(name))
    if not items:
        raise ValueError(f"dataset 'unlabelled:{reference}': no images among {len(files)} files")
    others = [name for name in files if not is_image(name)]
    warnings = (f"{len(others)} files that are no images were ignored: {some(others)}",) if others else ()
    return assemble(
        Found(f"unlabelled:{reference}", source, items, (), parts.path, warnings=warnings, target="nothing"), options
    )


DATASETS = {"unlabelled": read}
