"""Names come from anywhere: made safe to look at before they are shown."""

import unicodedata

LONGEST = 80


def visible(text: str, longest: int = LONGEST) -> str:
    """One line of what can be seen: control and direction characters become a middle dot, long text is cut.

    >>> visible("a\\nb")
    'a·b'
    """
    shown = "".join(
        "·" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text[: 4 * longest]
    )
    return shown if len(shown) <= longest and len(text) <= 4 * longest else shown[: longest - 1] + "…"
