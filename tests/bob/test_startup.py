"""Help and lists answer before torch could even be imported."""

import subprocess
import sys

import pytest

HEAVY = {
    *("torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "sklearn", "PIL", "matplotlib"),
    *(
        "timm",
        "transformers",
        "diffusers",
        "open_clip",
        "datasets",
        "huggingface_hub",
        "pydantic",
        "pydantic_core",
        "rich",
    ),
}


COMMANDS = [
    *("--help", "list --help", "list backbones", "list backbones resnet", "list groups", "list tasks"),
    *("list datasets", "list methods", "list backbones --family diffusion --max-params 1B"),
]


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS,
        "run --help",
        "pretrain --help",
        "plan --help",
        "status --help",
        "logs --help",
        "retry --help",
        "cancel --help",
        "leaderboard --help",
        "plot --help",
        "compare --help",
        "data --help",
        "data check --help",
    ],
)
def test_nothing_heavy_is_imported(command: str) -> None:
    code = (
        f"import sys; sys.argv = ['bob', *{command.split()!r}]\n"
        "from bob.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        f"loaded = {HEAVY!r} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_backbones_imports_no_family() -> None:
    families = {"timm", "open_clip", "transformers", "diffusers"}
    code = (
        "import sys, backbones, backbones.base, backbones.catalogue, backbones.certification, backbones.reference\n"
        f"loaded = {families!r} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
