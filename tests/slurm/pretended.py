"""SLURM's programs as shell scripts: what is submitted stands in a file for ever, and nothing runs."""

from pathlib import Path

PROGRAMS = {
    "sbatch": """
if [ "$1" = --test-only ] && [ -e doubt ] && grep -q "$(cat doubt)" "$2"; then echo 'not available' >&2; exit 1; fi
if [ "$1" = --test-only ]; then exit; fi
for script; do :; done
if [ -e slow ]; then sleep "$(cat slow)"; fi
if [ -e refusal ]; then cat refusal >&2; exit 1; fi
job=$(($(wc -l <queue) + 1))
value() { sed -n "s/^#SBATCH --$1=//p" "$script"; }
last=$(value array | sed 's/0-//; s/%.*//')
echo "$job|$last|$(value job-name)|$(value comment)|$*" >>queue
if [ -e silence ]; then cat silence >&2; exit 1; fi
echo "$job"
""",
    "squeue": """
if [ -e unreachable ]; then echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1; fi
awk -F'|' '{for (i = 0; i <= $2; i++) print $1 "_" i "|PENDING|Resources||" $4}' queue
""",
    "scancel": """
echo "$*" >>cancelled
for job; do sed -i "s/^${job%_*}|.*/0|-1|||cancelled/" queue; done
""",
    "scontrol": """
case "$1" in update) echo "$2 $3" >>updates ;; *) echo 'MaxArraySize            = 1001' ;; esac
""",
    "sacct": "exit 1\n",
    "srun": "exit 1\n",
}


class Pretended:
    """``folder`` holds the programs, the queue, and files that make them misbehave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "queue").touch()
        for name, body in PROGRAMS.items():
            (folder / name).write_text(f'#!/bin/sh\ncd "$(dirname "$0")" || exit\n{body}')
            (folder / name).chmod(0o755)

    def set(self, name: str, text: str | None) -> None:
        """Make a program misbehave in this way, or (None) no longer."""
        (self.folder / name).unlink(missing_ok=True)
        if text is not None:
            (self.folder / name).write_text(text)

    @property
    def arrays(self) -> list[tuple[int, str]]:
        """What stands: for each array, its size and the options that sbatch was given besides the script."""
        lines = [line.split("|") for line in (self.folder / "queue").read_text().splitlines()]
        return [(int(last) + 1, options.rpartition(" ")[0]) for _, last, _, _, options in lines if int(last) >= 0]
