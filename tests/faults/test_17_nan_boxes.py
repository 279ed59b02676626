"""Case 17, detection: a box or a score that is no number is refused before any metric, and named."""

import numpy as np
import pytest

from tasks.detection.evaluation.report import evaluate
from tests.detection_scenes import scenes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["boxes", "scores"])
def test_what_is_no_number_is_refused(where: str, value: float) -> None:
    found, truths = scenes(0, images=6)
    column = getattr(found[3], where).copy()
    column.reshape(len(column), -1)[4, 0] = value
    found[3] = found[3]._replace(**{where: column})
    with pytest.raises(ValueError, match=r"NaN or infinite; the first is row 4 of image 'img3'.*No metric"):
        next(iter(evaluate(found, truths, [f"img{row}" for row in range(6)], "abcde")))


def test_a_box_that_ends_before_it_begins_is_refused() -> None:
    found, truths = scenes(0, images=6)
    found[2].boxes[1] = (50, 50, 40, 60)
    with pytest.raises(ValueError, match=r"ends before it begins; the first is row 1 of image 'img2'"):
        next(iter(evaluate(found, truths, [f"img{row}" for row in range(6)], "abcde")))


def test_columns_of_other_lengths_are_refused() -> None:
    found, truths = scenes(0, images=6)
    found[1] = found[1]._replace(scores=found[1].scores[:-1])
    with pytest.raises(ValueError, match=r"image 'img1' have columns of different lengths"):
        next(iter(evaluate(found, truths, [f"img{row}" for row in range(6)], "abcde")))
