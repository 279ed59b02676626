"""What a person can mend is told in lines, with an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

EXIT_FAILED, EXIT_MISTAKE = 1, 2


@contextmanager
def mistakes_as_lines(*kinds: type[Exception]) -> Iterator[None]:
    """What a person can mend is told in lines and exit code 2; anything else keeps its traceback.

    ``kinds`` are errors of that sort: those of reading what a person wrote, unless said.
    """
    try:
        yield
    except kinds or (ValueError, OSError, ImportError) as error:
        for line in getattr(error, "lines", [str(error)]):
            typer.echo(f"error: {line}", err=True)
        raise typer.Exit(EXIT_MISTAKE) from None
