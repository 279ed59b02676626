"""What to run: a plan is read, every name in it resolved, and every mistake reported at once, before any compute."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from backbones.base import Backbone
from backbones.catalogue import expand
from backbones.plugins import unknown
from backbones.strict_yaml import load_yaml, read_yaml
from bob.options import Asked
from bob.roster import Roster
from results import record
from tasks.base import Data, Task
from tasks.catalogue import open_dataset, task_class
from tasks.datasets.base import Dataset, OpenOptions

_JSON = json.JSONEncoder(sort_keys=True)

_WRITTEN = {"one": "NAME", "many": "NAMES", "any": "NAMES (or none)"}
"""How a plan gives as many datasets as a role takes."""


class PlanError(ValueError):
    """Everything wrong with a plan, each a line that says what to mend."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class Plan(BaseModel):
    """A plan as a person writes it. A task entry names its task, its datasets by role, and any settings.

    ``racing``: idle processes help with the trials of a search. It says how cells are computed, and is in no key.
    Entries are of any kind here: what is wrong with one is found with its names, and told under its number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbones: list[str] = Field(min_length=1)
    tasks: list[Any] = Field(min_length=1)
    seeds: list[int] = Field(default=[0], min_length=1)
    racing: bool = Field(default=False, strict=True)

    @field_validator("backbones", "seeds")
    @classmethod
    def _no_duplicates(cls, values: list[Any]) -> list[Any]:
        if twice := [value for value in dict.fromkeys(values) if values.count(value) > 1]:
            raise ValueError(f"given twice: {', '.join(map(str, twice))}")
        return values


@dataclass(frozen=True)
class Question:
    """A task with its settings and its data, opened: what is put to each backbone. ``entry`` says it as a plan does."""

    task: Task
    data: Data
    names: Mapping[str, tuple[str, ...]]
    entry: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting, defaults included."""
        return dataclasses.asdict(self.task)  # type: ignore[call-overload,no-any-return]

    @cached_property
    def chosen(self) -> dict[str, Any]:
        """The settings that differ from the task's defaults: they belong to the name of a column."""
        return self.task.non_defaults()

    @cached_property
    def manifests(self) -> dict[str, str]:
        """What identifies each of the datasets, by name."""
        return {data.name: data.manifest_sha256 for sets in self.data.values() for data in sets}

    @cached_property
    def written(self) -> dict[str, str]:
        """Its share of a cell's key, as JSON: the same for all its cells, of which there may be 100,000."""
        by_role = {role: [data.manifest_sha256 for data in sets] for role, sets in self.data.items()}
        parts = {"manifests": by_role, "settings": self.settings, "task": self.task.name}
        return {name: _JSON.encode(part) for name, part in parts.items()}


@dataclass(frozen=True)
class Cell:
    """One (backbone, task, datasets, settings, seed). ``refusal`` says why it cannot be asked, where it cannot.

    ``racing``: others may help with the trials of its search.
    """

    loaded_as: str
    backbone: str
    question: Question
    seed: int
    identity: record.Identity
    refusal: str | None
    racing: bool = False

    @cached_property
    def key(self) -> str:
        """Hash of everything that changes the number and of nothing else: not the device, not a path, not workers."""
        question = self.question.written
        parts = (  # in the order of their names, as JSON with sorted keys is written
            f'"backbone": {_JSON.encode(self.backbone)}',
            f'"manifests": {question["manifests"]}',
            f'"precision": {_JSON.encode(self.identity.precision)}',
            f'"preprocess": {_JSON.encode(self.identity.preprocess)}',
            f'"protocol_version": {self.identity.protocol_version}',
            f'"seed": {self.seed}',
            f'"settings": {question["settings"]}',
            f'"task": {question["task"]}',
            f'"weights": {_JSON.encode(self.identity.weights_sha256)}',
        )
        return hashlib.sha256(f"{{{', '.join(parts)}}}".encode()).hexdigest()[:32]

    @cached_property
    def address(self) -> record.Cell:
        """The cell in words, as the record keeps it."""
        return record.Cell(
            backbone=self.backbone,
            task=self.question.task.name,
            datasets={role: list(names) for role, names in self.question.names.items()},
            settings=self.question.chosen,
            seed=self.seed,
        )


def read_plan(asked: Asked, mistakes: list[str], also: Sequence[str] = ()) -> Plan:
    """The plan asked for: a file, names from the command line, or the embedded demo; ``also`` these backbones.

    What is wrong with it is added to ``mistakes``, a line each; raises :class:`PlanError` where nothing can be read.
    """
    named = asked.backbones or asked.tasks or asked.datasets
    if asked.plan and named:
        raise PlanError(["give either a plan file or --backbones/--tasks/--datasets, not both"])
    if named:
        entries = [{"task": task, "dataset": list(asked.datasets)} for task in asked.tasks]
        content = {"backbones": [*asked.backbones, *also], "tasks": entries, "seeds": asked.seeds}
        return parse_plan(content, "command line", mistakes)
    try:
        content = read_yaml(asked.plan) if asked.plan else load_yaml(_demo(), "demo plan")
    except FileNotFoundError:
        raise PlanError([f"no plan {str(asked.plan)!r} in {Path.cwd()}"]) from None
    except (OSError, ValueError) as error:
        raise PlanError([str(error)]) from None
    if also and isinstance(content, dict):
        content = {**content, "backbones": [*_listed(content.get("backbones")), *also]}
    return parse_plan(content, str(asked.plan or "demo plan"), mistakes)


def parse_plan(content: Any, origin: str, mistakes: list[str]) -> Plan:
    """The plan, or what is usable of one that is wrong in parts, so that the rest is looked at too.

    Its mistakes are added, a line each; raises :class:`PlanError` for what is no plan at all.
    """
    if not isinstance(content, dict):
        raise PlanError([f"{origin}: a plan is a mapping with backbones, tasks and seeds, not {content!r:.60}"])
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        mistakes += [f"{origin}: {line}" for line in explain(error, list(Plan.model_fields))]
    return Plan.model_construct(
        backbones=[name for name in _listed(content.get("backbones")) if isinstance(name, str)],
        tasks=_listed(content.get("tasks")),
        seeds=[0],
    )


def _listed(given: Any) -> list[Any]:
    """A list as it is; one thing alone as a list of it."""
    return given if isinstance(given, list) else [] if given is None else [given]


def resolve(plan: Plan, roster: Roster, options: OpenOptions, precision: str, mistakes: list[str]) -> list[Cell]:
    """Every cell of the plan, backbone by backbone, each once.

    Raises :class:`PlanError` with all the ``mistakes`` there are, those found earlier among them.
    """
    questions = list(_questions(plan, options, mistakes))
    cells: dict[str, Cell] = {}
    for name in _backbones(plan, mistakes):
        try:
            backbone = roster.get(name)
        except (ValueError, OSError, ImportError) as error:
            mistakes.append(f"backbone {name!r}: {error}")
            continue
        for cell in _cells_of(name, backbone, questions, plan, precision):
            cells.setdefault(cell.key, cell)
    if mistakes:
        raise PlanError(mistakes)
    return list(cells.values())


def _backbones(plan: Plan, mistakes: list[str]) -> list[str]:
    """The plan's backbones with groups replaced by their members, each once."""
    names: list[str] = []
    for name in plan.backbones:
        try:
            names += expand(name)
        except ValueError as error:
            mistakes.append(f"backbone {name!r}: {error}")
    return list(dict.fromkeys(names))


def _cells_of(
    name: str, backbone: Backbone, questions: Sequence[Question], plan: Plan, precision: str
) -> Iterator[Cell]:
    """Every cell of one backbone. Cells that differ by seed alone share all else, for there may be very many."""
    preprocess = dataclasses.asdict(backbone.preprocess)
    for question in questions:
        identity = record.Identity(
            weights_sha256=backbone.card.weights_sha256,
            manifests=question.manifests,
            protocol_version=question.task.protocol_version,
            precision=precision,
            preprocess=preprocess,
        )
        refusal = question.task.refusal(backbone, question.data)
        for seed in plan.seeds if question.task.uses_seed(question.data) else [0]:
            yield Cell(name, backbone.card.name, question, seed, identity, refusal, plan.racing)


def _questions(plan: Plan, options: OpenOptions, mistakes: list[str]) -> Iterator[Question]:
    opened: dict[str, Dataset | None] = {}
    for number, entry in enumerate(plan.tasks, start=1):
        place = f"task {number}"
        if not (isinstance(entry, dict) and all(isinstance(key, str) for key in entry)):
            mistakes.append(f"{place}: an entry is a mapping like {{task: NAME, dataset: NAME}}, not {entry!r:.60}")
            continue
        try:
            kind = task_class(str(entry.get("task", "")))
        except ValueError as error:
            mistakes.append(f"{place}: {error}" if "task" in entry else f"{place}: an entry needs 'task: NAME'")
            continue
        place = f"{place} ({kind.name})"
        task = _settings(kind, entry, options, place, mistakes)
        for names in _datasets(kind, entry, place, mistakes):
            sets = {role: [_open(name, options, opened, place, mistakes) for name in names[role]] for role in names}
            complete = {role: [data for data in each if data is not None] for role, each in sets.items()}
            if task is not None and complete == sets:
                yield Question(task, complete, names, {**entry, **{role: list(each) for role, each in names.items()}})


def _settings(
    kind: type[Task], entry: Mapping[str, Any], options: OpenOptions, place: str, mistakes: list[str]
) -> Task | None:
    settings = {key: value for key, value in entry.items() if key != "task" and key not in kind.roles}
    for name in kind.files:
        if isinstance(path := settings.get(name), str):
            try:
                settings[name] = read_yaml(options.places.find(path))
            except (OSError, ValueError) as error:
                mistakes.append(f"{place}: {name}: {error}")
                return None
    try:
        return kind(**settings)
    except ValidationError as error:
        names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
        mistakes.extend(f"{place}: {line}" for line in explain(error, [*names, *kind.roles]))
        return None


def _datasets(
    kind: type[Task], entry: Mapping[str, Any], place: str, mistakes: list[str]
) -> Iterator[dict[str, tuple[str, ...]]]:
    """The datasets of an entry by role. Several names in the only role of a task are several questions."""
    names: dict[str, tuple[str, ...]] = {}
    for role, count in kind.roles.items():
        given = entry.get(role)
        if given in (None, []) and count == "any":
            continue
        listed = [given] if isinstance(given, str) else given
        if not (isinstance(listed, list) and listed and all(isinstance(name, str) for name in listed)):
            roles = ", ".join(f"{each}: {_WRITTEN[many]}" for each, many in kind.roles.items())
            mistakes.append(f"{place}: needs {roles}; {role} is {given!r}")
            return
        names[role] = tuple(listed)
    if [kind.roles[role] for role in names] == ["one"]:
        (role,) = names
        for name in names[role]:
            yield {role: (name,)}
        return
    for role, many in kind.roles.items():
        if many == "one" and len(names[role]) > 1:
            mistakes.append(f"{place}: {role} is one dataset, {len(names[role])} are given")
            return
    yield names


def _open(
    name: str, options: OpenOptions, opened: dict[str, Dataset | None], place: str, mistakes: list[str]
) -> Dataset | None:
    if name not in opened:
        try:
            opened[name] = open_dataset(name, options)
        except (ValueError, OSError, ImportError) as error:
            mistakes.append(f"{place}: dataset {name!r}: {error}")
            opened[name] = None
    return opened[name]


def explain(error: ValidationError, choices: Sequence[str]) -> Iterator[str]:
    """A line a mistake: its place, what is wrong with it, and for a key that is none those that are."""
    for problem in error.errors():
        place = ".".join(map(str, problem["loc"]))
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            yield str(unknown("key", str(problem["loc"][-1]), choices))
        elif problem["type"] == "missing":
            yield f"{place}: is missing"
        else:
            yield f"{place}: {problem['msg'].removeprefix('Value error, ')} (it is {problem['input']!r:.60})"


def _demo() -> str:
    return (Path(__file__).parent / "demo.yaml").read_text(encoding="utf-8")
