"""How numbers of a board are worded, the same in every format for people."""

from results.board import Board, Column, Entry, Row
from results.names import visible
from results.trend import Robustness, Trend

EMPTY = "No results yet: `bob run` computes some, and this board shows them."
LEGEND = (
    "Numbers are the headline metric (fractions in percent) with a 95 % bootstrap interval over test items, averaged "
    "over seeds. z: mean over columns of the distance to the column's mean in standard deviations, baselines among "
    "them. Baselines are floors, not candidates: ranks are without them. * and n/m: cells are missing, failed or "
    "quarantined, and the averages are over the others only. ‡: quarantined, for the reason given below; shown, and in "
    "no rank. "
    "°: without a certificate (`bob certify NAME`): nobody has held this backbone's adapter against its library."
)
DIVIDED = "How the data was divided"
ROBUSTNESS = "Effective robustness"
ROBUSTNESS_LEGEND = (
    "Accuracy under shift against what accuracy at home, on the same classes, predicts: logit(under shift) = "
    "a logit(at home) + b, fitted over the other backbones of the board, baselines apart. Above 0 is more robust than "
    "that. Intervals are over test images."
)
ROBUSTNESS_HEADS = ("backbone", "at home", "under shift", "expected", "above the line (logits)")
LONGEST_SETTING = 390
"""Characters: what differs between two columns may be the last of many settings."""


def number(value: float, column: Column) -> str:
    """Fractions in percent with one decimal, anything else as it is."""
    return f"{100 * value:.1f}" if column.unit == "fraction" else f"{value:.3g}"


def entry(cell: Entry, column: Column) -> str:
    """``81.3 [79.5, 83.0]``, or why there is no number."""
    if cell.value is None:
        return "—" if cell.status == "missing" else cell.failure or cell.status
    flag = mark(cell)
    if cell.low is None or cell.high is None:
        return number(cell.value, column) + flag
    return f"{number(cell.value, column)} [{number(cell.low, column)}, {number(cell.high, column)}]{flag}"


def short_entry(cell: Entry, column: Column) -> str:
    """``81.3 ±1.8``: the wider side of the interval, where there is no room for both."""
    if cell.value is None or cell.low is None or cell.high is None:
        return entry(cell, column)
    margin = max(cell.high - cell.value, cell.value - cell.low)
    return f"{number(cell.value, column)} ±{number(margin, column)}{mark(cell)}"


def mark(cell: Entry) -> str:
    """What stands behind a number that needs a second look: ``‡`` where it is in no rank, ``⚠`` for a warning."""
    if cell.status == "quarantined":
        return " ‡"
    return " ⚠" if cell.warnings else ""


def backbone(row: Row) -> str:
    """The name, marked when it is a baseline, and when nobody has certified it."""
    return visible(row.backbone) + (" (baseline)" if row.facts.baseline else "") + ("" if row.certified else " °")


def average(value: float | None, row: Row, board: Board) -> str:
    """A mean over columns, with how many it is over when some are missing."""
    if value is None:
        return "—"
    return f"{value:.2f}" + (f"* {len(board.columns) - row.missing}/{len(board.columns)}" if row.missing else "")


def parameters(row: Row) -> str:
    """In millions."""
    return f"{row.facts.parameters / 1e6:.1f}"


def speed(row: Row) -> str:
    """Images a second, where it was measured."""
    return "—" if row.images_per_second is None else f"{row.images_per_second:.0f}"


def headers(board: Board) -> list[str]:
    """The columns before the settings."""
    return ["backbone", "mean rank", "z", "params (M)", *(["images/s"] if board.include_cost else [])]


def leading(row: Row, board: Board) -> list[str]:
    """The cells under :func:`headers`."""
    cells = [backbone(row), average(row.rank, row, board), average(row.z, row, board), parameters(row)]
    return [*cells, *([speed(row)] if board.include_cost else [])]


def trend_title(trend: Trend) -> str:
    """Which backbones are compared on what, and the line through all of them."""
    return (
        f"{visible(trend.setting)}, on {visible(trend.test_set)} "
        f"(a = {trend.slope:.2f}, b = {trend.intercept:+.2f} over {len(trend.backbones)} backbones)"
    )


def robustness(row: Robustness) -> list[str]:
    """The cells under :data:`ROBUSTNESS_HEADS`."""
    interval = "" if row.low is None or row.high is None else f" [{row.low:+.2f}, {row.high:+.2f}]"
    shares = [f"{100 * share:.1f}" for share in (row.at_home, row.abroad, row.expected)]
    return [visible(row.backbone), *shares, f"{row.logits:+.2f}{interval}"]


def title(column: Column) -> str:
    """What a column is of."""
    lower = "" if column.higher_is_better else ", lower is better"
    return f"{visible(column.setting, LONGEST_SETTING)} ({column.metric}{lower})"
