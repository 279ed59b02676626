"""The code of a run: its digest, and copies that jobs run which wait in a queue while the checkout moves on.

STORE/code/DIGEST/{bob,tasks,backbones,results,slurm}/     a copy, whole or absent
STORE/code/DIGEST/commit                                   the commit it was copied from
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import bob

PACKAGES = ("bob", "tasks", "backbones", "results", "slurm")
COMMIT = "commit"
_ROOT = Path(bob.__file__).parents[1]


def job_environment(copy: Path) -> dict[str, str]:
    """What a job exports so that it imports a copy, also where it starts in a checkout: that would come first else."""
    path = os.pathsep.join(filter(None, [str(copy), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


@cache
def code_digest() -> str:
    """A hash of every file of the five packages, as this process found them; 32 hexadecimal digits."""
    hasher = hashlib.sha256()
    for path in _files():
        content = path.read_bytes()
        hasher.update(f"{path.relative_to(_ROOT).as_posix()} {len(content)} ".encode() + content)
    return hasher.hexdigest()[:32]


def copied_commit() -> str | None:
    """The commit that this code was copied from, if it is a copy."""
    file = _ROOT / COMMIT
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def keep_code(store: Path, commit: str) -> Path:
    """A copy of the running code in the store, made unless it is there. Raises ``OSError``."""
    target = store / "code" / code_digest()
    if target.is_dir():
        return target
    temporary = target.with_name(f".{target.name}-{secrets.token_hex(8)}")
    try:
        for path in _files():
            copy = temporary / path.relative_to(_ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        (temporary / COMMIT).write_text(f"{commit}\n", encoding="utf-8")
        os.rename(temporary, target)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not target.is_dir():  # else another launcher was first
            raise
    return target


def _files() -> Iterator[Path]:
    """In an order that no file system changes; what Python compiled is left out."""
    for package in PACKAGES:
        for path in sorted((_ROOT / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path
