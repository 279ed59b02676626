"""Labels of ImageNet's flat val: from Kaggle's ``LOC_val_solution.csv`` or the official development kit."""

import csv
import io
import tarfile
import zlib
from pathlib import Path

from tasks.datasets.listed import find_list, read_lines

ARCHIVES_FROM = "https://image-net.org/download-images"
KAGGLE_LABELS = "LOC_val_solution.csv"
KIT = "ILSVRC2012_devkit_t12"
KIT_BYTES = 64 * 2**20
"""The whole development kit has 2.5 MB; a larger member of it is not read."""


def val_labels(root: Path) -> dict[str, str]:
    """WordNet id by the image's name, ``ILSVRC2012_val_00000001``.

    Raises ``FileNotFoundError`` naming the files it could be in, and ``ValueError`` for damaged ones.
    """
    for folder in (root, root.parent):  # the parent, where the folder given is Kaggle's ILSVRC/
        if (folder / KAGGLE_LABELS).is_file():
            return _of_kaggle(folder / KAGGLE_LABELS)
    kit = _of_kit(root, "meta.mat"), _of_kit(root, "ILSVRC2012_validation_ground_truth.txt")
    import scipy.io

    try:
        synsets = scipy.io.loadmat(io.BytesIO(kit[0]), squeeze_me=True)["synsets"]
        wordnet_id = dict(zip(synsets["ILSVRC2012_ID"].tolist(), synsets["WNID"].tolist(), strict=True))
        return {f"ILSVRC2012_val_{row:08}": wordnet_id[int(number)] for row, number in enumerate(kit[1].split(), 1)}
    except Exception as error:  # whatever the library's parser trips over in a file that is there
        raise ValueError(f"the development kit in {root} is damaged ({type(error).__name__}: {error})") from error


def _of_kaggle(path: Path) -> dict[str, str]:
    try:
        return {row["ImageId"]: row["PredictionString"].split(" ")[0] for row in csv.DictReader(read_lines(path))}
    except (KeyError, AttributeError) as error:
        raise ValueError(f"{path} needs the columns ImageId and PredictionString") from error


def _of_kit(root: Path, name: str) -> bytes:
    """A file of the development kit, unpacked or in its archive."""
    for folder in (root / KIT / "data", root / "data", root):
        if (folder / name).is_file():
            return (folder / name).read_bytes()
    get_it = f"{ARCHIVES_FROM}, or put Kaggle's {KAGGLE_LABELS} there: a val without class folders needs its labels"
    archive = find_list([f"{KIT}.tar.gz"], [root], get_it)
    try:
        with tarfile.open(archive, "r:gz") as packed:
            for member in packed:
                if member.isfile() and member.size <= KIT_BYTES and member.name.endswith(f"data/{name}"):
                    file = packed.extractfile(member)
                    return file.read() if file else b""
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{archive} is damaged: {error}") from error
    raise ValueError(f"{archive} has no data/{name}; get it anew from {ARCHIVES_FROM}")
