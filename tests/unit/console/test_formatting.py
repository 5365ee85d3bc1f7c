"""Numbers on pages of the console."""

from decimal import Decimal

from console.formatting import NOTHING, format_count, format_money, format_tokens


def test_what_is_unknown_is_a_dash_and_never_zero() -> None:
    assert [format_count(number) for number in (None, 0, 1200)] == [NOTHING, "0", "1,200"]
    assert [format_money(cost) for cost in (None, Decimal(0), Decimal("0.5"))] == [NOTHING, "$0", "$0.5000"]
    assert [format_tokens(*pair) for pair in ((None, None), (0, 0), (1200, None))] == [
        NOTHING, "0 in, 0 out", f"1,200 in, {NOTHING} out",
    ]  # fmt: skip


def test_a_sum_that_lacks_what_is_unknown_says_that_it_is_a_lower_bound() -> None:
    assert [format_money(cost, at_least=True) for cost in (None, Decimal(0), Decimal(2))] == [
        NOTHING,
        NOTHING,
        "≥ $2.00",
    ]
    assert format_tokens(1200, 80, at_least=True) == "≥ 1,200 in, ≥ 80 out"
    assert format_tokens(0, None, at_least=True) == NOTHING
