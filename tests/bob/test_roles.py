"""How many datasets a role takes: one, many, or any number, none among them."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import pytest
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from bob import plan
from bob.plan import Cell, PlanError, parse_plan, resolve
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.datasets.base import OpenOptions
from tasks.retrieval.retrieval import Retrieval
from tests.feature_fakes import Fake


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Asked(Task):
    """Takes one dataset at home and any others."""

    name: ClassVar[str] = "asked"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "nothing"
    roles: ClassVar[Mapping[str, Literal["one", "many", "any"]]] = {"train": "one", "test": "many", "others": "any"}

    def uses_seed(self, data: Data) -> bool:
        return False

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        raise AssertionError("only planned")


class OneBackbone:
    def get(self, name: str) -> Backbone:
        return Fake()


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(plan, "task_class", lambda name: Asked)

    def planned(**entry: Any) -> list[Cell]:
        mistakes: list[str] = []
        content = {"backbones": ["pixels"], "tasks": [{"task": "asked", **entry}]}
        parsed = parse_plan(content, "test", mistakes)
        return resolve(parsed, OneBackbone(), OpenOptions(), "float32", mistakes)  # type: ignore[arg-type]

    return planned


def test_any_may_be_left_out_or_be_one_or_several(cells: Any) -> None:
    home = {"train": "digits", "test": ["digits"]}
    ((without,), (empty,), (null,)) = (cells(**home), cells(**home, others=[]), cells(**home, others=None))
    assert list(without.question.data) == list(without.address.datasets) == ["train", "test"]
    assert without.key == empty.key == null.key
    (one,), (several,) = cells(**home, others="digits"), cells(**home, others=["digits", "digits"])
    assert [len(cell.question.data["others"]) for cell in (one, several)] == [1, 2]
    assert len({without.key, one.key, several.key}) == 3


@pytest.mark.parametrize("given", [3, {"digits": 1}, ["digits", 3], ""])
def test_what_is_no_name_is_a_mistake(cells: Any, given: Any) -> None:
    with pytest.raises(PlanError) as error:
        cells(train="digits", test=["digits"], others=given)
    assert "train: NAME, test: NAMES, others: NAMES (or none)" in str(error.value) or "dataset ''" in str(error.value)


def test_the_other_roles_may_not_be_left_out(cells: Any) -> None:
    with pytest.raises(PlanError, match="test is None"):
        cells(train="digits", others=["digits"])
    with pytest.raises(PlanError, match="test is \\[\\]"):
        cells(train="digits", test=[], others=["digits"])


def test_several_datasets_are_several_questions_where_only_the_one_role_is_given() -> None:
    mistakes: list[str] = []
    asked = list(plan._datasets(Retrieval, {"dataset": ["a", "b"]}, "task 1", mistakes))
    assert asked == [{"dataset": ("a",)}, {"dataset": ("b",)}]
    assert not mistakes
    assert not list(plan._datasets(Retrieval, {"dataset": ["a", "b"], "whitening": "c"}, "task 1", mistakes))
    assert mistakes == ["task 1: dataset is one dataset, 2 are given"]
