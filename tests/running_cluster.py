"""The real SLURM that tests of launching meet: one that is running and named by SLURM_CONF, else they are skipped."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

HOW = (
    "needs a SLURM cluster for tests with partitions 'main' and 'urgent': "
    'eval "$(../shared/slurm/start-cluster start --nodes 4)" sets SLURM_CONF'
)


@pytest.fixture(scope="session")
def running_cluster() -> str:
    """Its configuration file."""
    configuration = os.environ.get("SLURM_CONF", "")
    if not configuration or not shutil.which("sbatch"):
        pytest.skip(HOW)
    nodes = subprocess.run(["sinfo", "-h", "-p", "main,urgent", "-o", "%P"], capture_output=True, text=True, timeout=30)
    if nodes.returncode or len(nodes.stdout.split()) < 2:
        pytest.skip(f"{HOW}; {configuration} has none that answers: {nodes.stderr.strip()}")
    return configuration


@pytest.fixture
def cluster(running_cluster: str) -> Iterator[str]:
    """Its configuration file. A test has it for itself, whatever workers pytest has: tests preempt and crash there."""
    with FileLock(Path(tempfile.gettempdir()) / f"bob-cluster-tests-{os.getuid()}.lock"):
        yield running_cluster
