"""Case 26 and every other mistake in a plan: all of them at once, with suggestions, exit code 2, nothing computed."""

from typing import Any

import pytest

GOOD = "backbones: [pixels]\ntasks:\n  - {task: classification.knn, dataset: digits}\n"
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1},' * 9}]\n" for i in range(1, 9))


def test_all_mistakes_are_told_at_once(bob: Any) -> None:
    (bob.folder / "plan.yaml").write_text(
        "backbones: [pixles, 'checkpoint:nowhere.yaml', 'file:gone.py:build']\n"
        "tasks:\n"
        "  - {task: classification.lineer, dataset: digits}\n"
        "  - {task: classification.knn, dataset: digits, kk: 3}\n"
        "  - {task: classification.knn, dataset: digits, k: many}\n"
        "  - {task: classification.knn, dataset: 'images:nowhere'}\n"
        "  - {task: classification.knn}\n"
        "  - {task: ood.shift, train: digits}\n"
        "  - {dataset: digits}\n"
    )
    code, log = bob("run", "plan.yaml")
    assert code == 2, log
    for words in [
        "'pixels'",
        "nowhere.yaml",
        "gone.py",
        "'classification.linear'",
        "'kk'",
        "k:",
        "many",
        "images:nowhere",
    ]:
        assert words in log
    assert log.count("error: ") == 10, log
    assert not (bob.folder / "outputs" / "store" / "cells").exists()


def test_a_wrong_shape_hides_no_later_mistake(bob: Any) -> None:
    """Types at the top, keys that are none, entries that are no mapping: names are still looked up, by their number."""
    (bob.folder / "plan.yaml").write_text(
        "backbones: [pixles, 7]\n"
        "seeds: [no]\n"
        "sedes: [1]\n"
        "tasks:\n"
        "  - classification.knn\n"
        "  - {task: classification.knn, dataset: digits, 3: 4}\n"
        "  - {task: classification.lineer, dataset: digits}\n"
        "  - {task: classification.knn, dataset: 'images:nowhere', kk: 3}\n"
    )
    code, log = bob("run", "plan.yaml")
    assert code == 2, log
    for words in ["backbones.1", "'pixels'", "seeds.0", "'seeds'", "task 1: an entry", "task 2: an entry",
                  "task 3: ", "task 4 (classification.knn): ", "'kk'", "images:nowhere"]:  # fmt: skip
        assert words in log, log
    assert log.count("error: ") == 9, log
    assert not (bob.folder / "outputs" / "store" / "cells").exists()


@pytest.mark.parametrize("text", ["backbones: pixles\ntasks: {task: lineer}\n", "tasks: {task: lineer}\nseeds: 3\n"])
def test_one_thing_where_a_list_is_due_is_looked_at_too(bob: Any, text: str) -> None:
    (bob.folder / "plan.yaml").write_text(text)
    code, log = bob("plan", "plan.yaml")
    assert code == 2, log
    assert "tasks: Input should be a valid list" in log
    assert "unknown task 'lineer'" in log
    assert ("'pixels'" in log) == ("pixles" in text)
    assert ("backbones: is missing" in log) == ("pixles" not in text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!!python/object/apply:os.system ['touch hacked']", ["python/object"]),
        (BOMB, ["aliases"]),
        (GOOD + "backbones: [pixels]\n", ["twice", "line 4"]),
        (GOOD + "sedes: [1]\n", ["'sedes'", "'seeds'"]),
        (GOOD + "seeds: [no]\n", ["seeds", "'no'"]),
        (GOOD.replace("digits}", "digits, temperature: 1e-3, k: no}"), ["k", "'no'"]),
        ("", ["mapping"]),
        ("- 1", ["mapping"]),
        (GOOD.replace("[pixels]", "[pixels, pixels]"), ["twice"]),
        (GOOD.replace("[pixels]", "[]"), ["backbones"]),
        (GOOD + "seeds: 3\n", ["seeds"]),
    ],
)
def test_each_bad_plan_is_an_error_that_names_it(bob: Any, text: str, words: list[str]) -> None:
    (bob.folder / "plan.yaml").write_text(text)
    code, log = bob("plan", "plan.yaml")
    assert code == 2, log
    assert "Traceback" not in log
    assert all(word in log for word in words), log
    assert not (bob.folder / "hacked").exists()


def test_numbers_are_numbers(bob: Any) -> None:
    (bob.folder / "plan.yaml").write_text(GOOD.replace("digits}", "digits, temperature: 1e-1}"))
    code, log = bob("plan", "plan.yaml")
    assert code == 0, log
    assert "1 to do" in log


def test_missing_plan_and_mixed_requests(bob: Any) -> None:
    assert bob("run", "nowhere.yaml")[0] == 2
    (bob.folder / "plan.yaml").write_text(GOOD)
    code, log = bob("run", "plan.yaml", "--backbones", "pixels")
    assert code == 2
    assert "not both" in log
