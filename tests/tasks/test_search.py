"""The search against what can be worked out by hand: who is tried, for how long, who wins, what was gained."""

import pytest
from pydantic import ValidationError

from tasks.search import Choice, Search, candidates, find, rounds

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

    found = find(Search(9, kind, SPACE), 16, 0, trial)
    assert found.choice == {"learning_rate": 4.0, "layer_decay": 0.75}
    assert found.gain == pytest.approx(3.0 - 1.5)
    assert len({name for _, _, name in asked}) == len(asked) == len(found.tried)


def test_a_choice_is_made_by_rank_in_each_round_not_by_luck_of_an_early_one() -> None:
    def trial(choice: Choice, epochs: int, name: str) -> float:
        slow = choice.get("learning_rate") == 2.0
        return 0.9 if slow and epochs == 8 else 0.5 if slow else 0.6 - epochs / 100 if choice else 0.1

    found = find(Search(4, "halving", {"learning_rate": (1.0, 2.0, 3.0)}), 16, 0, trial)
    tried = [(each.choice.get("learning_rate"), each.epochs) for each in found.tried]
    assert len(tried) == 6
    assert found.choice["learning_rate"] in (1.0, 3.0)  # 2.0 was third after four epochs and is not seen again
    assert (2.0, 8) not in tried


def test_one_trial_tries_nothing() -> None:
    def trial(choice: Choice, epochs: int, name: str) -> float:
        raise AssertionError("nothing is to be tried")

    assert find(Search(), 10, 0, trial).choice == {}


def test_a_search_without_a_space_is_refused() -> None:
    with pytest.raises(ValidationError, match="space names no setting"):
        Search(trials=3)
    with pytest.raises(ValidationError, match="no values for learning_rate"):
        Search(trials=3, space={"learning_rate": ()})
