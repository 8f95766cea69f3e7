"""Answers whose time could tell whether an address has an account come at multiples of LUMYX_ANSWER_STEP.

Signing up makes rows where the address is free and sends a message where it is taken; a wrong code is written down where there
is an account. What differs is far below one step. Costs the caller half a second, and the site a waiting thread; how many callers
may wait is bounded by allauth's limits per address.
"""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from lumyx.lib import clock

View = Callable[..., HttpResponseBase]


def paced(view: View) -> View:
    """Let a view's answers to forms wait for the next step."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        began = clock.monotonic()
        response = view(request, *args, **kwargs)
        step = settings.LUMYX_ANSWER_STEP
        if step and request.method == "POST":
            time.sleep(-(clock.monotonic() - began) % step)
        return response

    return answer
