"""A cluster's profile, read from a file that a person wrote: every mistake in it is told at once."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from backbones.plugins import unknown
from backbones.strict_yaml import read_yaml
from bob.plan import PlanError, explain
from slurm.profile import Profile
from slurm.resources import Resources
from tasks.catalogue import TASKS


def read_profile(path: Path, tasks: Collection[str] | None = None) -> Profile:
    """The profile of a file. ``tasks`` are the names of all tasks there are, if not those of the catalogue.

    Raises :class:`PlanError` with every mistake, a line each.
    """
    try:
        content = read_yaml(path)
    except FileNotFoundError:
        raise PlanError([f"no profile {str(path)!r} in {Path.cwd()}"]) from None
    except (OSError, ValueError) as error:
        raise PlanError([str(error)]) from None
    if not isinstance(content, dict):
        kinds = ", ".join(Profile.model_fields)
        raise PlanError([f"{path}: a profile is a mapping with any of {kinds}, not {content!r:.60}"])
    if mistakes := [f"{path}: {line}" for line in _mistakes(content, TASKS.found if tasks is None else tasks)]:
        raise PlanError(mistakes)
    return Profile.model_validate(content)


def _mistakes(content: dict[Any, Any], tasks: Collection[str]) -> Iterator[str]:
    whole = {name: value for name, value in content.items() if name not in ("defaults", "tasks")}
    try:
        Profile.model_validate(whole, strict=True)
    except ValidationError as error:
        yield from explain(error, list(Profile.model_fields))
    yield from _asked("defaults", content.get("defaults", {}))
    kinds = content.get("tasks", {})
    if not isinstance(kinds, dict):
        yield f"tasks: is a mapping from a task's name to what its jobs ask for, not {kinds!r:.60}"
        return
    beginnings = {".".join(name.split(".")[:length]) for name in tasks for length in range(1, name.count(".") + 2)}
    for name, asked in kinds.items():
        if name not in beginnings:
            yield f"tasks: {unknown('task or beginning of one', str(name), sorted(beginnings))}"
        yield from _asked(f"tasks: {name}", asked)


def _asked(place: str, asked: Any) -> Iterator[str]:
    """What is wrong with what jobs of a kind ask for."""
    if not isinstance(asked, dict):
        yield f"{place}: is a mapping like {{partition: NAME, time_min: 60}}, not {asked!r:.60}"
        return
    try:
        Resources.model_validate(asked, strict=True)
    except ValidationError as error:
        yield from (f"{place}: {line}" for line in explain(error, list(Resources.model_fields)))
