"""Help and lists answer before torch could even be imported."""

import subprocess
import sys

import pytest

HEAVY = {
    *("torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "sklearn", "PIL", "matplotlib"),
    *("timm", "transformers", "diffusers", "datasets", "huggingface_hub", "pydantic", "pydantic_core", "rich"),
}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["list", "--help"], ["list", "backbones"], ["list", "backbones", "resnet"], ["list", "tasks"]]
    + [["list", "datasets"], ["run", "--help"], ["plan", "--help"], ["leaderboard", "--help"]],
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['bob', *{arguments!r}]\n"
        "from bob.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        f"loaded = {HEAVY!r} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
