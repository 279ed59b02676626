"""What a person can mend is told in lines, with an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

EXIT_FAILED, EXIT_MISTAKE = 1, 2

MENDABLE = (ValueError, OSError, ImportError)
"""What comes of reading what a person wrote, or has installed."""


@contextmanager
def mistakes_as_lines(kinds: tuple[type[Exception], ...] = MENDABLE) -> Iterator[None]:
    """What a person can mend is told in lines and exit code 2; anything else keeps its traceback.

    ``kinds`` are the errors of that sort.
    """
    try:
        yield
    except kinds as error:
        for line in getattr(error, "lines", [str(error)]):
            typer.echo(f"error: {line}", err=True)
        raise typer.Exit(EXIT_MISTAKE) from None
