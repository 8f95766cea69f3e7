"""The typed readers: what they accept, what they refuse, and that everything wrong is said at once."""

import base64

import pytest

from lumyx.env import Env, EnvironmentVariableError


def test_values_are_read_by_their_type() -> None:
    key = base64.b64encode(b"k" * 32).decode()
    env = Env({"T": " x ", "F": "Yes", "N": "7", "L": "a, b,,c", "U": "redis://h/0", "K": key})
    assert (env.text("T"), env.flag("F", default=False), env.integer("N", 1)) == ("x", True, 7)
    assert env.items("L") == ["a", "b", "c"]
    assert env.url("U", schemes=("redis",)) == "redis://h/0"
    assert env.key("K") == b"k" * 32
    env.finish()


def test_what_is_absent_or_blank_takes_its_default() -> None:
    env = Env({"T": "   ", "N": ""})
    assert (env.text("T", "d"), env.integer("N", 3), env.flag("F", default=True), env.items("L", ["x"])) == (
        "d",
        3,
        True,
        ["x"],
    )
    assert env.key("K", b"d" * 32) == b"d" * 32
    env.finish()


def test_every_problem_is_in_one_message() -> None:
    env = Env({"F": "maybe", "N": "12x", "BIG": "99", "K": "short", "U": "mysql://u:hunter2@h/d"})
    env.text("T")
    env.flag("F", default=False)
    env.integer("N", 1)
    env.integer("BIG", 1, high=10)
    env.key("K")
    env.url("U", schemes=("postgresql",))
    env.items("L")
    with pytest.raises(EnvironmentVariableError) as caught:
        env.finish()
    message = str(caught.value)
    for name in ("T is not set", "F is 'maybe'", "N is '12x'", "BIG is '99'", "K must be 32 bytes", "U must", "L is"):
        assert name in message
    assert message.count("\n  - ") == 7


@pytest.mark.parametrize("value", ["mysql://u:hunter2@h/d", "hunter2"])
def test_a_bad_url_is_not_echoed_because_it_may_hold_a_password(value: str) -> None:
    env = Env({"U": value})
    env.url("U", schemes=("postgresql",))
    assert "hunter2" not in " ".join(env.problems)


@pytest.mark.parametrize("value", ["-1", "1.5", "1e3", "0x10", "２x", "", "11"])
def test_a_number_out_of_its_range_is_refused_or_takes_the_default(value: str) -> None:
    env = Env({"N": value})
    assert env.integer("N", 5, low=0, high=10) == 5
    assert bool(env.problems) == bool(value)
