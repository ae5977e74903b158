"""What counts as met, and how it is told."""

import msgspec
import pytest

from chaos.bench.figures import (
    Figure,
    Goal,
    Result,
    as_json,
    as_lines,
    missed,
    percentile,
)


def figure(ours: float, reference: float | None, goal: Goal | None) -> Figure:
    """Make a figure."""
    return Figure(name="speed", unit="rows/s", ours=ours, reference=reference, goal=goal)


@pytest.mark.parametrize(
    ("ours", "reference", "goal", "met"),
    [
        (85.0, 100.0, Goal("at least", 0.85), True),
        (84.0, 100.0, Goal("at least", 0.85), False),
        (2.0, 1.0, Goal("at most", 2.0), True),
        (2.1, 1.0, Goal("at most", 2.0), False),
        (0.0, None, Goal("at most", 0.0, "figure"), True),
        (1.0, None, Goal("at most", 0.0, "figure"), False),
        (5.0, None, None, None),
    ],
)
def test_a_goal_is_on_the_ratio_or_on_the_figure(
    ours: float, reference: float | None, goal: Goal | None, *, met: bool | None
) -> None:
    """The bound itself is good enough; without a goal nothing is met or missed."""
    assert figure(ours, reference, goal).met is met


@pytest.mark.parametrize("reference", [None, 0.0])
def test_a_ratio_without_a_reference_is_a_miss(reference: float | None) -> None:
    """Nothing to divide by proves nothing."""
    one = figure(5.0, reference, Goal("at least", 0.5))
    assert one.ratio is None
    assert one.met is False


def test_what_is_missed_is_named() -> None:
    """In the file, in the table and in the list of misses alike."""
    result = Result(
        bench="apply",
        figures=[
            figure(1.0, 2.0, Goal("at least", 0.9)),
            msgspec.structs.replace(figure(3.0, 2.0, Goal("at least", 0.9)), name="other"),
        ],
        not_run=["needs wrk"],
    )
    assert missed([result]) == ["apply: speed"]
    document = msgspec.json.decode(as_json([result], {"processors": "2"}))
    assert document["missed"] == ["apply: speed"]
    assert [each["met"] for each in document["results"][0]["figures"]] == [False, True]
    assert document["results"][0]["figures"][0]["ratio"] == 0.5
    table = "\n".join(as_lines(result))
    assert "MISSED" in table
    assert "not run: needs wrk" in table


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_percentiles_are_values_that_occurred(share: float, value: int) -> None:
    """By nearest rank."""
    assert percentile([float(number) for number in range(100, 0, -1)], share) == value


def test_of_nothing_there_is_no_percentile() -> None:
    """A run in which nothing happened tells zero."""
    assert percentile([], 0.99) == 0.0
