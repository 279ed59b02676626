"""A store that cannot be written: which path, and what to do about it."""

import errno
from os import PathLike, fspath

FULL = "nothing was recorded and older records are intact; make room or pass another --store, then run again"
CLOSED = (
    "nothing was recorded; pass another --store, or let this user write there: a store of several users is a folder of "
    "their common group with mode g+ws (chmod -R g+w, and g+s for its folders)"
)


def unwritable(error: OSError, path: str | PathLike[str]) -> OSError:
    """The same error with the path and what to do."""
    advice = CLOSED if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else FULL
    return OSError(error.errno, f"{error.strerror} ({advice})", fspath(path))
