"""Methods by name, found by reading their files; imported when they are used."""

from typing import TYPE_CHECKING

from backbones.plugins import Plugins

if TYPE_CHECKING:
    from tasks.classification.semi_supervised.method import MethodSettings

METHODS = Plugins(
    "semi-supervised method", "tasks.classification.semi_supervised.methods", "METHODS", "bob.semi_supervised_methods"
)
"""A class of :class:`~tasks.classification.semi_supervised.method.MethodSettings` by name."""


def settings_class(method: str) -> "type[MethodSettings]":
    """Raises ``ValueError`` with suggestions for an unknown name."""
    found: type[MethodSettings] = METHODS.load(method)
    return found
