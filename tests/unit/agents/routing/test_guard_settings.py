"""How long a probe may take."""

from agents.routing.guard_settings import RouteFigures


def test_each_probe_in_a_row_may_be_silent_for_longer_until_it_has_the_deadline_of_any_call() -> None:
    figures = RouteFigures(probe_seconds=15, max_probe_seconds=100)
    assert [figures.probe_deadline(opens) for opens in (0, 1, 2, 3, 4, 10_000)] == [15, 15, 30, 60, 100, 100]
    # A route whose first token has to come sooner than that.
    assert RouteFigures(probe_seconds=15, max_probe_seconds=5).probe_deadline(3) == 15
