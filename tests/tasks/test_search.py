"""The search against what can be worked out by hand: who is tried, for how long, who wins, what was gained."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from backbones.training.outcomes import Diverged
from tasks.race import Choice, Trial, Tried, in_turn
from tasks.search import Search, candidates, find, rounds
from tasks.training_notes import search_notes

SPACE = {"learning_rate": (1.0, 2.0, 3.0, 4.0), "layer_decay": (0.5, 0.75)}


def test_the_own_settings_come_first_and_no_choice_comes_twice() -> None:
    for kind in ("grid", "random", "halving"):
        drawn = candidates(Search(9, kind, SPACE), seed=3)
        assert drawn[0] == {}
        assert len({tuple(choice.items()) for choice in drawn}) == 9
    assert candidates(Search(20, "random", SPACE), 0) != candidates(Search(20, "random", SPACE), 1)
    assert len(candidates(Search(20, "random", SPACE), 0)) == 9


def test_halving_spends_about_the_same_on_every_round() -> None:
    assert rounds(Search(8, "halving", SPACE), 8, 16) == [(8, 2), (4, 4), (2, 8)]
    assert rounds(Search(5, "halving", SPACE), 5, 80) == [(5, 10), (3, 20), (2, 40)]
    assert rounds(Search(8, "halving", SPACE), 8, 3) == [(8, 1), (4, 1), (2, 2)]
    assert rounds(Search(8, "random", SPACE), 8, 16) == [(8, 16)]


@pytest.mark.parametrize("kind", ["grid", "random", "halving"])
def test_the_best_is_found_and_the_gain_is_over_the_own_settings(kind: str) -> None:
    asked: list[tuple[Choice, int, str]] = []

    def trial(choice: Choice, epochs: int, name: str) -> float:
        asked.append((choice, epochs, name))
        return choice.get("learning_rate", 1.5) * choice.get("layer_decay", 1.0) + epochs / 100

    found = find(Search(9, kind, SPACE), 16, 0, trial, in_turn)
    assert found.choice == {"learning_rate": 4.0, "layer_decay": 0.75}
    assert found.gain == pytest.approx(3.0 - 1.5)
    assert len({name for _, _, name in asked}) == len(asked) == len(found.tried)


def test_a_choice_is_made_by_rank_in_each_round_not_by_luck_of_an_early_one() -> None:
    def trial(choice: Choice, epochs: int, name: str) -> float:
        slow = choice.get("learning_rate") == 2.0
        return 0.9 if slow and epochs == 8 else 0.5 if slow else 0.6 - epochs / 100 if choice else 0.1

    found = find(Search(4, "halving", {"learning_rate": (1.0, 2.0, 3.0)}), 16, 0, trial, in_turn)
    tried = [(each.choice.get("learning_rate"), each.epochs) for each in found.tried]
    assert len(tried) == 6
    assert found.choice["learning_rate"] in (1.0, 3.0)  # 2.0 was third after four epochs and is not seen again
    assert (2.0, 8) not in tried


def test_one_trial_tries_nothing() -> None:
    def trial(choice: Choice, epochs: int, name: str) -> float:
        raise AssertionError("nothing is to be tried")

    assert find(Search(), 10, 0, trial, in_turn).choice == {}


def test_a_search_without_a_space_is_refused() -> None:
    with pytest.raises(ValidationError, match="space names no setting"):
        Search(trials=3)
    with pytest.raises(ValidationError, match="no values for learning_rate"):
        Search(trials=3, space={"learning_rate": ()})


def test_what_diverges_is_the_worst_and_says_so() -> None:
    def train(choice: Choice, epochs: int, name: str) -> float:
        if choice == {}:
            raise Diverged(7, float("nan"), 1.0)
        return float("nan") if choice["learning_rate"] == 2.0 else -choice["learning_rate"]

    found = find(Search(4, "grid", {"learning_rate": (1.0, 2.0, 3.0)}), 8, 0, train, in_turn)
    assert found.choice == {"learning_rate": 1.0}
    assert [each.merit for each in found.tried] == [None, -1.0, None, -3.0]
    assert "step 7" in str(found.tried[0].diverged)
    assert "nan on val" in str(found.tried[2].diverged)
    assert found.gain is None
    (told,) = (note.value for note in search_notes(found) if note.name == "trials")
    assert [sorted(each) for each in told] == [["choice", "diverged", "epochs", "val"], ["choice", "epochs", "val"]] * 2


def test_where_all_diverge_the_own_settings_are_left() -> None:
    def train(choice: Choice, epochs: int, name: str) -> float:
        raise Diverged(7, float("nan"), 1.0)

    found = find(Search(4, "halving", {"learning_rate": (1.0, 2.0, 3.0)}), 8, 0, train, in_turn)
    assert (found.choice, len(found.tried), found.gain) == ({}, 6, None)


def test_every_other_error_is_an_error() -> None:
    def train(choice: Choice, epochs: int, name: str) -> float:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        find(Search(2, "grid", {"learning_rate": (1.0,)}), 8, 0, train, in_turn)


def test_every_backbone_has_the_same_trials_and_epochs_whatever_they_come_to() -> None:
    budgets = []
    for luck in range(3):
        asked = []

        def train(choice: Choice, epochs: int, name: str, luck: int = luck, asked: list[Any] = asked) -> float:
            asked.append((name, epochs))
            if (len(asked) + luck) % 4 == 0:
                raise Diverged(1, float("nan"), 1.0)
            return float(np.random.default_rng([luck, len(asked)]).random())

        found = find(Search(8, "halving", SPACE), 16, luck, train, in_turn)
        assert [each.epochs for each in found.tried] == [epochs for _, epochs in asked]
        budgets.append(asked)
    assert budgets[0] == budgets[1] == budgets[2]
    assert sum(epochs for _, epochs in budgets[0]) == 8 * 2 + 4 * 4 + 2 * 8


def test_a_race_hears_how_many_go_on_and_of_a_search_without_trials() -> None:
    heard = []

    def race(trials: Sequence[Trial], going_on: int) -> list[Tried]:
        heard.append((len(trials), going_on))
        return in_turn(trials, going_on)

    find(Search(5, "halving", SPACE), 16, 0, lambda *asked: 0.5, race)
    find(Search(), 16, 0, lambda *asked: 0.5, race)
    assert heard == [(5, 3), (3, 2), (2, 0), (0, 0)]
