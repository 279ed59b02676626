"""Fixtures of launching: a real cluster, and one that is pretended by a few shell scripts."""

from pathlib import Path

import pytest

from tests.running_cluster import cluster, running_cluster
from tests.slurm.pretended import Pretended

__all__ = ["cluster", "running_cluster"]


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    """SLURM's programs are shell scripts that keep a queue in a file and start nothing."""
    fake = Pretended(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{fake.folder}:/usr/bin:/bin")
    return fake
