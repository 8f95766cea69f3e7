"""Rating: exact integers, rounded up once, never above the hold that was sized for it."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rating import Rates, TokenUsage, affordable_output, charge_for, hold_for

nano_per_million = st.integers(0, 10**12)
tokens = st.integers(0, 10**7)
price_lists = st.builds(
    Rates,
    input=nano_per_million,
    output=nano_per_million,
    cache_read=st.none() | nano_per_million,
    cache_write=st.none() | nano_per_million,
)


@pytest.mark.parametrize(
    ("usage", "charge"),
    [
        (TokenUsage(), 0),
        (TokenUsage(input=1), 500),
        (TokenUsage(input=1_000_000), 500_000_000),
        (TokenUsage(input=3, output=2), 4500),
        (TokenUsage(cache_read=1_000_000, cache_write=1_000_000), 675_000_000),
        (TokenUsage(output=1_000_000, reasoning=999_999), 1_500_000_000),
    ],
)
def test_a_charge_is_tokens_times_rates_rounded_up_once(usage: TokenUsage, charge: int) -> None:
    rates = Rates(input=500_000_000, output=1_500_000_000, cache_read=50_000_000, cache_write=625_000_000)
    assert charge_for(usage, rates) == charge


def test_a_fraction_of_a_nano_dollar_is_rounded_up() -> None:
    assert charge_for(TokenUsage(input=1), Rates(input=1, output=0)) == 1
    assert charge_for(TokenUsage(input=1, output=1), Rates(input=1, output=1)) == 1


def test_a_class_without_a_price_costs_what_input_costs() -> None:
    usage = TokenUsage(cache_read=2_000_000, cache_write=3_000_000)
    assert charge_for(usage, Rates(input=7, output=9)) == 35


def test_a_cache_rate_of_zero_is_free() -> None:
    assert charge_for(TokenUsage(cache_read=5_000_000), Rates(input=7, output=9, cache_read=0)) == 0


@given(usage=st.builds(TokenUsage, tokens, tokens, tokens, tokens), prices=price_lists)
def test_a_charge_is_the_exact_price_and_less_than_one_nano_dollar_more(usage: TokenUsage, prices: Rates) -> None:
    read = prices.input if prices.cache_read is None else prices.cache_read
    write = prices.input if prices.cache_write is None else prices.cache_write
    exact = Fraction(
        usage.input * prices.input + usage.cache_read * read + usage.cache_write * write + usage.output * prices.output,
        1_000_000,
    )
    assert exact <= charge_for(usage, prices) < exact + 1


@given(usage=st.builds(TokenUsage, tokens, tokens, tokens, tokens), prices=price_lists)
def test_no_usage_within_the_bounds_exceeds_the_hold(usage: TokenUsage, prices: Rates) -> None:
    inputs = usage.input + usage.cache_read + usage.cache_write
    assert charge_for(usage, prices) <= hold_for(input_upper=inputs, output_max=usage.output, rates=prices)


@given(amount=st.integers(0, 10**12), inputs=tokens, prices=price_lists, at_most=tokens)
def test_what_is_affordable_fits_and_one_token_more_does_not(
    amount: int, inputs: int, prices: Rates, at_most: int
) -> None:
    output = affordable_output(amount=amount, input_upper=inputs, rates=prices, at_most=at_most)
    assert 0 <= output <= at_most
    if output:
        assert hold_for(input_upper=inputs, output_max=output, rates=prices) <= amount
    if output < at_most:
        assert hold_for(input_upper=inputs, output_max=output + 1, rates=prices) > amount
