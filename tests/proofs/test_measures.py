"""What the proofs measure and compare with, by itself: a line through points, the shape of an error, bodies and heads by a seed."""

import json
import random

import pytest

from gateway.errors import ApiError
from proofs import bodies
from proofs.civility import fault_of
from proofs.faults import Round
from proofs.heads import draw_request
from proofs.soak import fit

KEY = "lx-secret"


def test_a_line_is_fitted_with_the_error_of_its_slope() -> None:
    exact = fit([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)])
    assert (exact.slope, exact.error) == (2.0, 0.0)
    noisy = fit([(0.0, 0.0), (1.0, 3.0), (2.0, 2.0), (3.0, 5.0)])
    assert noisy.slope == pytest.approx(1.4)
    assert noisy.error == pytest.approx(0.32**0.5)


def test_an_error_in_its_shape_is_civil_and_anything_else_is_not() -> None:
    body = ApiError(400, "invalid_json", "No.").body("id")
    headers = {"x-request-id": "id"}
    assert fault_of(status=400, headers=headers, body=body, key=KEY) == ""
    assert fault_of(status=200, headers=headers, body=b"data", key=KEY) == ""
    assert "no request id" in fault_of(status=400, headers={}, body=body, key=KEY)
    assert "shape" in fault_of(status=400, headers={"x-request-id": "other"}, body=body, key=KEY)
    assert "shape" in fault_of(status=404, headers=headers, body=body, key=KEY)
    assert "shape" in fault_of(status=400, headers=headers, body=b"<html>", key=KEY)
    assert "500" in fault_of(status=500, headers=headers, body=body, key=KEY)
    assert "internal_error" in fault_of(status=200, headers=headers, body=b'{"code":"internal_error"}', key=KEY)
    for code in ("", None):
        changed = json.loads(body)
        changed["error"]["code"] = code
        assert "shape" in fault_of(status=400, headers=headers, body=json.dumps(changed).encode(), key=KEY)
    assert "echoed" in fault_of(status=400, headers=headers | {"a": KEY}, body=body, key=KEY)
    assert "echoed" in fault_of(status=400, headers=headers, body=body + KEY.encode(), key=KEY)


def test_a_refusal_is_excused_while_postgresql_was_away_and_until_all_was_well() -> None:
    outage = Round("postgres paused", away=10.0, back=20.0, recovered=21.0)
    assert outage.excuses(9.5, 1.0)
    assert outage.excuses(20.5, 0.1)
    assert not outage.excuses(9.0, 0.5)
    assert not outage.excuses(21.5, 0.1)
    assert not Round("valkey paused", away=10.0, back=20.0, recovered=21.0).excuses(15.0, 1.0)


def test_the_same_seed_draws_the_same_bodies_and_heads() -> None:
    strategy = bodies.sound(["a", "b"]) | bodies.wild(["a"]) | bodies.spoilt(["a"])
    first, again, other = ([bodies.encode(body) for body in bodies.draw(strategy, 60, seed=seed)] for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 60
    assert len(set(first)) > 30
    heads = [
        [draw_request(chance, key="lx-a", other_key="lx-b", model="m") for _ in range(60)]
        for chance in (random.Random(1), random.Random(1), random.Random(2))
    ]
    assert heads[0] == heads[1] != heads[2]
