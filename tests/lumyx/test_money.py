"""Money: exact both ways, and refused where it would not be."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumyx.lib.money import MAX_NANO, MoneyError, format_usd, nano_to_usd, usd_to_nano

amounts = st.integers(min_value=-MAX_NANO // 2, max_value=MAX_NANO // 2)


@given(amounts)
def test_nano_to_usd_and_back_loses_nothing(nano: int) -> None:
    assert usd_to_nano(nano_to_usd(nano)) == nano


@given(amounts)
def test_the_text_is_plain_and_has_no_trailing_zeros(nano: int) -> None:
    text = nano_to_usd(nano)
    assert set(text) <= set("-.0123456789")
    assert "." not in text or not text.endswith(("0", "."))
    assert Decimal(text) * 10**9 == nano


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("1", 10**9),
        ("0.000000001", 1),
        ("-0.5", -500_000_000),
        (Decimal("12.34"), 12_340_000_000),
        (3, 3 * 10**9),
        ("1e-9", 1),
    ],
)
def test_dollars_become_exact_nano_usd(usd: str | int | Decimal, nano: int) -> None:
    assert usd_to_nano(usd) == nano


@pytest.mark.parametrize(
    "usd", ["", "ten", "1.0000000001", "1e-10", "NaN", "Infinity", "-Infinity", "9300000000", "1,5"]
)
def test_what_cannot_be_stored_exactly_is_refused(usd: str) -> None:
    with pytest.raises(MoneyError):
        usd_to_nano(usd)


@pytest.mark.parametrize(
    ("nano", "places", "shown"),
    [
        (1_500_000_000, 2, "$1.50"),
        (1_234_567_000_000_000, 2, "$1,234,567.00"),
        (-4_200_000, 4, "-$0.0042"),
        (5_000_000, 2, "$0.01"),
        (4_999_999, 2, "$0.00"),
        (-4_999_999, 2, "$0.00"),
        (1, 9, "$0.000000001"),
        (1_500_000_000, 0, "$2"),
    ],
)
def test_amounts_for_people_are_rounded_half_up(nano: int, places: int, shown: str) -> None:
    assert format_usd(nano, places=places) == shown


@given(amounts, st.integers(min_value=0, max_value=9))
def test_what_people_see_is_never_further_off_than_half_a_unit(nano: int, places: int) -> None:
    shown = Decimal(format_usd(nano, places=places).replace("$", "").replace(",", ""))
    assert abs(shown * 10**9 - nano) <= Decimal(10 ** (9 - places)) / 2
