"""``bob compare`` over small made stores."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from bob.cli import app
from bob.compare import Match, compare
from bob.verdicts import in_words, overall, print_match
from results.record import Cell, Record
from results.store import Store

ITEMS = 400


def keep(store: Store, make: Any, backbone: str, data: str, values: np.ndarray | float, **changes: Any) -> Record:
    """A record on a data set, with the values of its items unless one number is all there is."""
    seed = changes.pop("seed", 0)
    cell = Cell(backbone=backbone, task="retrieval", datasets={"dataset": [data]}, seed=seed)
    mean = float(np.mean(values))
    record = make(backbone, mean, seed=seed, **{"version": CURRENT, **changes})
    key = Cell(backbone=f"{backbone}{mean}{record.key}", task="retrieval", datasets=cell.datasets, seed=seed).address()
    record = record.model_copy(update={"cell": cell, "key": key})
    if isinstance(values, float):
        store.commit(record)
        return record
    record = record.model_copy(update={"scores": [record.scores[0].model_copy(update={"n": len(values)})]})
    names = [f"{number:05}" for number in range(len(values))]
    store.commit(record, pa.table({"split": ["test"] * len(values), "item": names, "score:mAP": values}))
    return record


def version() -> int:
    from tasks.catalogue import protocol_versions

    return protocol_versions({"retrieval"})["retrieval"]


CURRENT = version()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def told(match: Match) -> dict[str, str]:
    """The words of each data set."""
    return {verdict.column.setting.split()[1]: in_words(verdict) for verdict in match.verdicts}


def test_each_setting_has_a_verdict_and_all_have_one_line(store: Store, make: Any) -> None:
    generator = np.random.default_rng(0)
    base = generator.random(ITEMS)
    for data, shift in [("plus", 0.05), ("minus", -0.05), ("none", 0.0)]:
        keep(store, make, "timm:one", data, base + shift + generator.normal(0, 0.1, ITEMS))
        keep(store, make, "timm:two", data, base)
    keep(store, make, "timm:one", "same", base)
    keep(store, make, "timm:two", "same", base)
    keep(store, make, "timm:one", "number", 0.5)
    keep(store, make, "timm:two", "number", 0.6)
    keep(store, make, "timm:one", "alone", base)
    match = compare(store, "timm:one", "timm:two")
    words = told(match)
    assert words["plus"].startswith("A is better by ")
    assert words["minus"].startswith("B is better by ")
    assert words["none"].startswith("no difference seen; one of ")
    assert "points would have been" in words["none"]
    assert words["same"].startswith("the same on every item")
    assert words["number"].startswith("not comparable: no items are kept of it, and one seed has no spread")
    assert overall(match) == (
        "Of 5 settings that both have: A is better in 1, B in 1, no difference seen in 2, not comparable in 1; "
        "1 more only A has."
    )
    back = compare(store, "timm:two", "timm:one")
    assert told(back)["minus"] == words["minus"].replace("B is", "A is")
    assert back.tally() == match.tally()
    assert back.alone == (0, 1)


def test_p_values_are_corrected_over_the_settings(store: Store, make: Any) -> None:
    generator = np.random.default_rng(1)
    base = generator.random(ITEMS)
    noise = generator.normal(0, 0.1, ITEMS)
    keep(store, make, "timm:one", "slight", base + noise - noise.mean() + 0.0115)  # 2.3 standard errors
    keep(store, make, "timm:two", "slight", base)
    (alone,) = compare(store, "timm:one", "timm:two").verdicts
    assert alone.winner == 1
    for number in range(4):
        keep(store, make, "timm:one", f"other{number}", base + generator.normal(0, 0.1, ITEMS))
        keep(store, make, "timm:two", f"other{number}", base)
    among = next(v for v in compare(store, "timm:one", "timm:two").verdicts if "slight" in v.column.setting)
    assert among.found is not None
    assert among.found == alone.found
    assert (among.winner, among.p) == (0, pytest.approx(5 * alone.p))
    assert among.detectable > alone.detectable
    assert "alone it would pass for one" in in_words(among)


def test_seeds_tell_how_many_more_would_settle_it(store: Store, make: Any) -> None:
    for seed, (mine, theirs) in enumerate([(0.52, 0.50), (0.55, 0.51), (0.50, 0.51)]):
        keep(store, make, "timm:one", "digits", mine, seed=seed)
        keep(store, make, "timm:two", "digits", theirs, seed=seed)
    match = compare(store, "timm:one", "timm:two")
    assert match.verdicts[0].more_seeds is not None
    assert (
        f"; were it as large as seen, {match.verdicts[0].more_seeds} more seeds would settle it"
        in told(match)["digits"]
    )


def test_what_the_board_ranks_not_is_not_compared(store: Store, make: Any) -> None:
    generator = np.random.default_rng(2)
    for data in ("old", "floor", "failed", "seen"):
        keep(store, make, "timm:two", data, generator.random(ITEMS))
    keep(store, make, "timm:one", "old", generator.random(ITEMS), version=CURRENT - 1)
    keep(store, make, "random:timm:one", "floor", generator.random(ITEMS) + 1, baseline=True)
    keep(store, make, "timm:one", "floor", generator.random(ITEMS))
    keep(store, make, "timm:one", "seen", generator.random(ITEMS))
    failed = make("timm:one", failed=True, version=CURRENT)
    store.fail(failed.model_copy(update={"cell": failed.cell.model_copy(update={"datasets": {"dataset": ["failed"]}})}))
    words = told(compare(store, "timm:one", "timm:two"))
    assert words["old"].startswith("not comparable: A: stale")
    assert words["failed"].startswith("not comparable: A: failed: ValueError")
    assert words["floor"].startswith("not comparable: A: quarantined: does not beat random:timm:one")
    assert words["seen"].startswith("no difference seen")


def test_the_newest_answer_counts(store: Store, make: Any) -> None:
    base = np.random.default_rng(3).random(ITEMS)
    keep(store, make, "timm:one", "digits", base - 0.3)
    keep(store, make, "timm:one", "digits", base + 0.3, created="2026-02-01T00:00:00+00:00")
    keep(store, make, "timm:two", "digits", base)
    assert compare(store, "timm:one", "timm:two").tally() == (1, 0, 0, 0)


def test_names_are_known_by_their_alias_and_unknown_ones_by_their_neighbours(store: Store, make: Any) -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(store, "timm:one", "timm:two")
    keep(store, make, "timm:vit_small_patch16_224.dino", "digits", 0.5)
    keep(store, make, "timm:two", "digits", 0.5)
    assert compare(store, "dino-small", "timm:two").names[0] == "timm:vit_small_patch16_224.dino"
    with pytest.raises(ValueError, match=r"unknown backbone of the store 'timm:tow'; did you mean 'timm:two'\?"):
        compare(store, "timm:tow", "dino-small")
    with pytest.raises(ValueError, match="is both"):
        compare(store, "timm:two", "timm:two")


def test_it_is_a_command_whose_names_cannot_draw(
    store: Store, make: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    base = np.random.default_rng(4).random(ITEMS)
    keep(store, make, "x:[red]\x1b[2Jone\n", "digits[bold]", base + np.linspace(0, 0.2, ITEMS))
    keep(store, make, "timm:two", "digits[bold]", base)
    print_match(compare(store, "x:[red]\x1b[2Jone\n", "timm:two"))
    printed = capsys.readouterr().out
    assert "A: x:[red]·[2Jone·\n" in printed
    assert "\x1b[2J" not in printed
    assert "[1] retrieval digits[bold] (mAP): A is better by " in printed
    assert "≤0.0001" in printed
    assert "+10.0" in printed


def test_the_command_tells_what_is_wrong(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["compare", "timm:one", "timm:two", "--store", str(tmp_path / "none")])
    assert told.exit_code == 2
    assert told.output.startswith("error: there is nothing to compare in ")
