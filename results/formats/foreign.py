"""Numbers of others as Markdown, to stand below the board: a table of each import, marked, in no order of merit."""

from results.foreign import ForeignTable
from results.formats.markdown import bullets, line
from results.names import visible

TITLE = "Published elsewhere"
MARK = "not measured here, protocol unknown; in no rank, mean or test"


def render(table: ForeignTable) -> str:
    """A row a backbone, a column a setting and metric; where it is from below."""
    columns = list(dict.fromkeys((figure.setting, figure.metric) for figure in table.figures))
    backbones = sorted({figure.backbone for figure in table.figures})
    values = {(figure.backbone, figure.setting, figure.metric): figure.value for figure in table.figures}
    titles = ["backbone", *(visible(f"{setting} ({metric})", 390) for setting, metric in columns)]
    lines = [line(titles), line(["---", *["---:"] * len(columns)], escape=False)]
    for backbone in backbones:
        found = [values.get((backbone, *column)) for column in columns]
        lines.append(line([f"† {visible(backbone)}", *("—" if value is None else f"{value:.4g}" for value in found)]))
    sources = bullets(sorted({figure.source for figure in table.figures}), 400)
    return "\n".join([f"{TITLE} (†: {MARK}):", "", *lines, "", *sources])
