"""Running a Python file of the user's own: its folder is importable, and its identity covers what it imports there.

What is imported from outside the standard library and the installed packages is the user's own code: it changes the
numbers as the file itself does, and two folders may each hold another ``helper.py``. So every load runs all of it
anew, hashes it, and takes it out of ``sys.modules`` again. Imports must happen while the file runs or its factory is
called; what a model imports later, in ``forward``, is neither seen nor found.
"""

import hashlib
import importlib
import importlib.util
import json
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

BOB = {"backbones", "bob", "results", "slurm", "tasks"}
"""Our own packages: in a checkout they are not among the installed, and their versions are told apart elsewhere."""

STANDARD_LIBRARY = [sysconfig.get_paths()[kind] for kind in ("stdlib", "platstdlib")]


@dataclass
class OwnCode:
    """A file that was run. ``sha256`` is there when the ``with`` statement of :func:`run` has ended."""

    module: ModuleType
    sha256: str = ""


@contextmanager
def run(path: Path) -> Iterator[OwnCode]:
    """Run the file; within the ``with`` statement it may be called and import what lies beside it.

    Raises ``ValueError`` where it is no Python file, and whatever the file raises, with a note that names it.
    """
    text = path.read_bytes()
    code = OwnCode(_blank(path, text))
    path_before = list(sys.path)
    hidden = {name: module for name, module in _own_modules().items() if _place(module).is_relative_to(path.parent)}
    for name in hidden:  # imported by another file, or before an edit
        del sys.modules[name]
    sys.modules[code.module.__name__] = code.module  # dataclasses look their module up
    before = set(sys.modules)
    sys.path.insert(0, str(path.parent))
    importlib.invalidate_caches()
    try:
        _execute(code.module, path, text)
        yield code
    finally:
        imported = {name: module for name, module in _own_modules().items() if name not in before}
        code.sha256 = _identity(text, imported)
        for name, module in imported.items():
            del sys.modules[name]
            _forget_compiled(module)
        for name, module in hidden.items():
            sys.modules.setdefault(name, module)
        sys.path[:] = path_before


def _blank(path: Path, text: bytes) -> ModuleType:
    """The module before it is run; its name is the path's and the text's, so that no two files share one."""
    name = f"bob_user_{hashlib.sha256(str(path).encode() + text).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file (its name must end in .py)")
    return importlib.util.module_from_spec(spec)


def _execute(module: ModuleType, path: Path, text: bytes) -> None:
    try:
        exec(compile(text, str(path), "exec"), vars(module))  # the very bytes that are hashed
    except Exception as error:
        error.add_note(f"raised while running {path}")
        raise


def _own_modules() -> dict[str, Any]:
    """What is imported now and is the user's: not the standard library's, not a package's, not ours."""
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name != "__main__" and name.partition(".")[0] not in BOB and _is_own(_place(module))
    }


def _place(module: Any) -> Path:
    """Its file, or its folder where it is a package without one; an empty path for what is built in.

    Some libraries put other objects among the modules, or import more when they are asked for an attribute: hence the
    look into the dictionary.
    """
    facts = getattr(module, "__dict__", {})
    return Path(facts.get("__file__") or next(iter(facts.get("__path__") or ()), ""))


def _is_own(place: Path) -> bool:
    if not place.is_absolute() or {"site-packages", "dist-packages"} & set(place.parts):
        return False
    return not any(place.is_relative_to(folder) for folder in STANDARD_LIBRARY)


def _identity(text: bytes, imported: Mapping[str, Any]) -> str:
    """The text's hash; with imports, the hash of it and theirs by name. Where the folder lies does not matter."""
    own = hashlib.sha256(text).hexdigest()
    files = {name: place for name, module in imported.items() if (place := _place(module)).is_file()}
    if not files:
        return own
    hashes = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
    return hashlib.sha256(json.dumps([own, hashes], sort_keys=True).encode()).hexdigest()


def _forget_compiled(module: Any) -> None:
    """Python tells texts apart by whole seconds and size; two edits of a program within one would run the first."""
    if compiled := module.__dict__.get("__cached__"):
        Path(compiled).unlink(missing_ok=True)
