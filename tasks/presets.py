"""Settings by the name of a published recipe: a name in the plan, its fields in the record and in the key."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from tasks.base import differences


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Presets:
    """``preset: NAME`` among a task's settings stands for the fields of that name; settings given beside it win.

    The name itself is no field: what a recipe is called changes no number, so two names for the same fields are one
    cell. Raises ``ValueError`` naming the choices for an unknown name.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def non_defaults(self) -> dict[str, Any]:
        """What differs from the defaults, or, where that is less, a preset's name and what differs from it."""
        plain = differences(self, type(self)())
        named = [{"preset": name, **differences(self, type(self)(**{"preset": name}))} for name in self.presets]
        return min([plain, *named], key=len)

    @model_validator(mode="before")
    @classmethod
    def _fields_for_the_name(cls, given: Any) -> Any:
        if not isinstance(given, ArgsKwargs) or not given.kwargs or "preset" not in given.kwargs:
            return given
        settings = dict(given.kwargs)
        name = settings.pop("preset")
        if not isinstance(name, str) or name not in cls.presets:
            raise ValueError(f"there is no preset {name!r}; there are: {', '.join(cls.presets)}")
        return ArgsKwargs(given.args, {**cls.presets[name], **settings})
