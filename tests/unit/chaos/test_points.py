import pytest

from tests.chaos.points import POINTS, Point, find_function


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_point_names_functions_that_exist(point: Point) -> None:
    # A process that is armed with a name of yesterday ends before it starts, and the run goes on without it.
    for function in point.functions.split():
        owner, attribute = find_function(point.module, function)
        assert callable(getattr(owner, attribute))
