"""The order of the tests names files and folders that exist."""

from tests.support.order import LONGEST, TOGETHER, rank_of, unit_of
from tests.support.surroundings import ROOT


def test_what_begins_first_exists() -> None:
    assert [name for name in (*LONGEST, *TOGETHER, *TOGETHER.values()) if not (ROOT / name).exists()] == []


def test_a_folder_of_the_list_is_one_unit_and_other_files_are_each_their_own() -> None:
    assert unit_of("tests/browser/test_looks.py::test_x") == "tests/browser"
    assert unit_of("tests/unit/test_docs.py::test_x[a::b]") == "tests/unit/test_docs.py"
    assert [unit_of(name) for name in TOGETHER] == [*TOGETHER.values()]
    assert rank_of("tests/browser/test_looks.py::test_x") == 0
    assert rank_of("tests/unit/test_docs.py::test_x") == len(LONGEST)
