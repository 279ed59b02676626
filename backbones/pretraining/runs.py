"""Where runs of pretraining are, and what they have published, by name: ``RUN@STEP``, or ``RUN`` for the newest.

outputs/pretraining/RUN/  run.yaml       what was asked for, whole before anything is trained
                          checkpoints/   the loop's own, to go on from
                          logs/          steps.csv, epochs.csv, curves.png
                          published/step-000000123/  card.yaml, weights.safetensors
                          page.html      all of it to look at
                          finished       there when it is
"""

import re
from pathlib import Path

from backbones.places import Places
from backbones.plugins import unknown

RUNS = Path("outputs/pretraining")
CARD, WEIGHTS, SETTINGS, PAGE, FINISHED = "card.yaml", "weights.safetensors", "run.yaml", "page.html", "finished"
_REFERENCE = re.compile(r"(?P<run>[A-Za-z0-9][A-Za-z0-9_-]*)(@(?P<step>[0-9]+))?")


def is_run(name: str) -> bool:
    """Whether this can be a run's name: letters, digits, ``-`` and ``_``. The path of a card has a dot in it.

    >>> is_run("simclr-cifar"), is_run("card.yaml"), is_run("simclr@12")
    (True, False, False)
    """
    found = _REFERENCE.fullmatch(name)
    return found is not None and found["step"] is None


def published_folder(run: Path, step: int) -> Path:
    """Where a run keeps what it had after ``step`` steps."""
    return run / "published" / f"step-{step:09d}"


def published_steps(run: Path) -> list[int]:
    """Steps of which a run has published its weights, rising."""
    names = (card.parent.name.removeprefix("step-") for card in run.glob(f"published/step-*/{CARD}"))
    return sorted(int(name) for name in names if name.isdigit())


def run_folder(name: str, places: Places) -> Path:
    """Where the run of that name is. Raises ``ValueError`` where there is none, with those that are."""
    folder = _run(name, places)
    if folder is None:
        raise unknown("run of pretraining", name, _runs(places)) if _runs(places) else _none(name, places)
    return folder


def published_card(reference: str, places: Places) -> Path | None:
    """The card of ``RUN@STEP`` or ``RUN``; None for what cannot be a run's name, or names none and is a file.

    Raises ``ValueError`` for a run or a step that is not there, with those that are.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return None
    run = _run(match["run"], places)
    if run is None:
        if any((root / reference).is_file() for root in places.roots):
            return None
        raise unknown("run of pretraining", match["run"], _runs(places)) if _runs(places) else _none(reference, places)
    steps = published_steps(run)
    if not steps:
        raise ValueError(
            f"run {match['run']!r} has published nothing yet ({run}); its training goes on with its command"
        )
    step = steps[-1] if match["step"] is None else int(match["step"])
    if step not in steps:
        said = ", ".join(map(str, steps))
        raise ValueError(f"run {match['run']!r} has not published step {match['step']}; there are: {said} ({run})")
    return published_folder(run, step) / CARD


def _run(name: str, places: Places) -> Path | None:
    folders = (root / RUNS / name for root in places.roots)
    return next((folder for folder in folders if (folder / SETTINGS).exists()), None)


def _runs(places: Places) -> list[str]:
    found = (path.parent.name for root in places.roots for path in sorted((root / RUNS).glob(f"*/{SETTINGS}")))
    return list(dict.fromkeys(found))


def _none(reference: str, places: Places) -> ValueError:
    looked = ", ".join(str((root / RUNS).absolute()) for root in dict.fromkeys(places.roots))
    return ValueError(
        f"no run of pretraining {reference!r}: there is none in {looked} (bob pretrain METHOD --name RUN makes one); "
        "a card is named by its path, as checkpoint:CARD.yaml"
    )
