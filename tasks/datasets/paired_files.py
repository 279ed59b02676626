"""Images and what is known of them in files of the same name, in folders that people call alike but for a word."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from tasks.datasets.class_folders import SPLIT_NAMES

IMAGE_WORDS = frozenset({"image", "images", "img", "imgs", "jpegimages"})
Key = tuple[str, ...]
"""What an image and its file share: the words of their folders, those of their kinds left out, and the stem."""


def folder_words(name: str) -> list[str]:
    """The words of the folders a file is in.

    >>> folder_words("semantic_train/town/1.png")
    ['semantic', 'train', 'town']
    """
    return [word for folder in PurePosixPath(name).parts[:-1] for word in re.split(r"[_\-. ]", folder)]


def key_of(name: str, kinds: Iterable[str]) -> Key:
    """What the file shares with its pair; ``kinds`` are words for what is in a folder, in lower case.

    >>> key_of("semantic_train/1.png", {"semantic"}), key_of("images/train/1.jpg", {"images"})
    (('train', '1'), ('train', '1'))
    """
    known = frozenset(kinds)
    return (*(word for word in folder_words(name) if word.lower() not in known), PurePosixPath(name).stem)


def split_of(key: Key) -> str:
    """The split the folders name first; else all."""
    return next((SPLIT_NAMES[word.lower()] for word in key[:-1] if word.lower() in SPLIT_NAMES), "all")


def wrapper(files: Sequence[str]) -> str:
    """The folder that holds everything, as archives often have one, with its slash; else nothing.

    >>> wrapper(["set/a/1.png", "set/classes.txt"]), wrapper(["a/1.png", "classes.txt"]), wrapper(["train/1.png"])
    ('set/', '', '')
    """
    tops = {file.partition("/")[0] for file in files}
    top = tops.pop() if len(tops) == 1 and all("/" in file for file in files) else ""
    return f"{top}/" if top and top.lower() not in SPLIT_NAMES else ""
