"""A training as a page: one file without scripts or addresses, that loads itself again as long as it runs."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment

SECONDS = 15
"""Between two looks at the file."""
_TEMPLATE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
{% if state == "training" %}
<meta http-equiv="refresh" content="{{ seconds }}">
{% endif %}
<title>{{ run }}: {{ state }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
img { max-width: 100% } table { border-collapse: collapse } td { padding: .1em 1.5em .1em 0; vertical-align: top }
td + td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere } h2 { font-size: 1.1em; margin-top: 2em }
</style>
</head>
<body>
<h1>{{ run }}</h1>
<p>{{ state }}</p>
{% if numbers %}
<h2>Last epoch</h2>
<table>
{% for name, value in numbers.items() %}
<tr><td>{{ name }}</td><td>{{ "%.4g" | format(value) }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% if curves %}
<h2>Curves</h2>
<img alt="Curves of the training" src="data:image/png;base64,{{ curves }}">
{% endif %}
<h2>Settings</h2>
<table>
{% for name, value in settings.items() %}
<tr><td>{{ name }}</td><td>{{ value }}</td></tr>
{% endfor %}
</table>
</body>
</html>
""")


def page(run: str, state: str, settings: Mapping[str, Any], numbers: Mapping[str, float], curves: Path | None) -> str:
    """The page's text; ``settings`` are nested plain values, shown by their dotted names."""
    picture = "" if curves is None else base64.b64encode(curves.read_bytes()).decode()
    return _TEMPLATE.render(
        run=run, state=state, settings=dotted(settings), numbers=numbers, curves=picture, seconds=SECONDS
    )


def dotted(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested mappings as one, their names joined by dots.

    >>> dotted({"recipe": {"epochs": 3}, "seed": 0})
    {'recipe.epochs': 3, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= dotted(value, f"{above}{name}.") if isinstance(value, Mapping) and value else {f"{above}{name}": value}
    return flat
