"""XML as annotations are written in it, of files that anybody may have made: no document types, no entities."""

from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

MAX_DEPTH = 64
"""Annotations are four elements deep; without a limit nesting is memory for the asking."""


def parse_xml(data: bytes) -> Element:
    """The root element. Raises ``ValueError`` for what is no well-formed XML, too deep, or declares a document type.

    Entities can only be declared in a document type: without one there are no expansions (a "billion laughs") and
    nothing outside the file can be named.

    >>> parse_xml(b"<object><name>cat</name></object>").findtext("name")
    'cat'
    """
    builder, parser, depth = TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} elements deep; it is not read")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*declared: Any) -> None:
        raise ValueError("declares a document type, where entities could be; remove the DOCTYPE")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"is no well-formed XML: {error}") from None
    except (LookupError, UnicodeError) as error:  # an encoding that is none
        raise ValueError(f"cannot be read as text: {error}") from None
    root: Element = builder.close()
    return root
