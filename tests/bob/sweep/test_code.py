"""The code that jobs run: a copy that is the same, says which commit it is of, and is what a job imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bob.sweep import code
from bob.sweep.code import PACKAGES, code_digest, copied_commit, job_environment, keep_code

TELL = """
import bob
from bob.sweep.code import code_digest, copied_commit
print(bob.__file__, code_digest(), copied_commit())
"""


def test_a_job_that_is_given_the_copy_imports_it_and_it_has_the_same_digest(tmp_path: Path) -> None:
    copy = keep_code(tmp_path, "c0ffee+")
    assert copy == tmp_path / "code" / code_digest()
    assert sorted(path.name for path in copy.iterdir()) == sorted([*PACKAGES, "commit"])
    environment = {**os.environ, **job_environment(copy)}
    told = subprocess.run([sys.executable, "-c", TELL], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [str(copy / "bob" / "__init__.py"), code_digest(), "c0ffee+"]
    assert copied_commit() is None, "the checkout is no copy"


def test_it_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = keep_code(tmp_path, "one")
    (copy / "bob" / "__init__.py").write_text("# as it was found\n")
    assert keep_code(tmp_path, "two") == copy
    assert (copy / "bob" / "__init__.py").read_text() == "# as it was found\n"
    assert [path.name for path in (tmp_path / "code").iterdir()] == [copy.name]


def test_every_byte_and_every_name_is_in_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("1\n")
    monkeypatch.setattr(code, "_ROOT", tmp_path)

    def digest() -> str:
        return code_digest.__wrapped__()

    found = [digest()]
    (tmp_path / "tasks" / "a.py").write_text("2\n")
    found.append(digest())
    (tmp_path / "tasks" / "a.py").rename(tmp_path / "tasks" / "b.py")
    found.append(digest())
    (tmp_path / "tasks" / "words.yaml").touch()
    found.append(digest())
    assert len(set(found)) == 4
    (tmp_path / "tasks" / "__pycache__").mkdir()
    (tmp_path / "tasks" / "__pycache__" / "a.pyc").touch()
    assert digest() == found[-1]


def test_a_disk_that_is_full_leaves_nothing_half_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []

    def copyfile(source: Path, target: Path) -> None:
        if len(copied) == 20:
            raise OSError(28, "No space left on device", str(target))
        copied.append(target)
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(code.shutil, "copyfile", copyfile)
    with pytest.raises(OSError, match="No space left"):
        keep_code(tmp_path, "commit")
    assert list((tmp_path / "code").iterdir()) == []
