"""A store of several users: what one makes in a folder that its group may write, the group may write too."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def for_the_group(root: Path) -> Iterator[None]:
    """Whatever this process makes meanwhile is for the group where ``root`` is, whatever the user's umask.

    The umask, for it reaches what tasks leave in a working folder, which the next holder of a claim must be able to
    go on with. That the group is the root's is the folder's own affair (mode g+s).
    """
    try:
        is_shared = root.stat().st_mode & stat.S_IWGRP
    except OSError:
        is_shared = 0
    if not is_shared:
        yield
        return
    before = os.umask(0o007)
    os.umask(before & ~0o070)
    try:
        yield
    finally:
        os.umask(before)
