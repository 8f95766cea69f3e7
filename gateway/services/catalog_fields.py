"""Reads values out of a catalog file, table by table, and remembers every problem with its place instead of stopping."""

import re
from collections.abc import Mapping
from typing import Any

from lumyx.lib.money import MoneyError, usd_to_nano

#: Largest value of a PositiveIntegerField (tokens, weights).
MAX_INTEGER = 2**31 - 1
_KINDS = {str: "text in quotes", bool: "true or false", int: "a whole number", float: "a number", list: "a list"}


#: Keys whose values no message repeats.
_SECRETS = {"credential"}


def _shown(key: str, value: object) -> str:
    return "this value" if key in _SECRETS else repr(value)


class CatalogError(Exception):
    """A catalog that cannot be applied. ``problems`` lists everything that is wrong, each with its place."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"The catalog has {count}; nothing was changed:\n  - " + "\n  - ".join(problems))


class Fields:
    """One table of the file: each reader takes a key out; ``finish`` refuses the keys that nobody read."""

    def __init__(self, values: object, *, place: str, problems: list[str]) -> None:
        self.place = place
        self.problems = problems
        self.values: dict[str, Any] = {}
        self._known: list[str] = []
        if isinstance(values, Mapping):
            self.values = dict(values)
        else:
            self.problem("must be a table")

    def problem(self, text: str, *, key: str = "") -> None:
        """Remember a problem of this table, or of one of its keys."""
        self.problems.append(f"{self.place}.{key}: {text}" if key else f"{self.place}: {text}")

    def has(self, key: str) -> bool:
        """Tell whether the table says anything about a key."""
        return key in self.values

    def _take(self, key: str, kind: type, *, required: bool) -> Any:
        self._known.append(key)
        if key not in self.values:
            if required:
                self.problem("is missing", key=key)
            return None
        value = self.values[key]
        # True is an int in Python, and 5 is a fine number of seconds.
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or (isinstance(value, bool) and kind is not bool):
            self.problem(f"must be {_KINDS[kind]}, not {_shown(key, value)}", key=key)
            return None
        return value

    def text(self, key: str, default: str | None = None, *, max_length: int, pattern: str = "", rule: str = "") -> str:
        """Read text of 1 to ``max_length`` characters; with a pattern it must match whole, else ``rule`` is the complaint."""
        value: str | None = self._take(key, str, required=default is None)
        if value is None:
            return default or ""
        if "\x00" in value or len(value) > max_length or (not value.strip() and default is None):
            self.problem(f"must have 1 to {max_length} characters and no NUL", key=key)
        elif pattern and not re.fullmatch(pattern, value):
            self.problem(f"{_shown(key, value)} is not valid: {rule}", key=key)
        return value

    def slug(self, key: str, *, max_length: int) -> str:
        """Read a required name of letters, digits, "-" and "_"."""
        return self.text(key, max_length=max_length, pattern=r"[A-Za-z0-9_-]+", rule="use letters, digits, - and _")

    def choice(self, key: str, default: str | None, *, choices: Mapping[str, str]) -> str:
        """Read one of ``choices``; a choice with a text is known but refused, with that text."""
        value: str | None = self._take(key, str, required=default is None)
        if value is None:
            return default or ""
        usable = [name for name, refusal in choices.items() if not refusal]
        if value not in usable:
            why = choices.get(value) or f"{value!r} is not one of: {', '.join(usable)}"
            self.problem(why, key=key)
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Read true or false."""
        value: bool | None = self._take(key, bool, required=False)
        return default if value is None else value

    def integer(self, key: str, default: int | None, *, low: int, high: int = MAX_INTEGER) -> int:
        """Read a whole number from ``low`` to ``high``; None as the default makes it required."""
        value: int | None = self._take(key, int, required=default is None)
        if value is None:
            return default or 0
        if not low <= value <= high:
            self.problem(f"{value} must be from {low} to {high}", key=key)
        return value

    def seconds(self, key: str, default: float, *, high: float = 3600.0) -> float:
        """Read a time in seconds, above 0 and at most ``high``."""
        value: float | None = self._take(key, float, required=False)
        if value is None:
            return default
        if not 0 < value <= high:  # also false for NaN
            self.problem(f"{value} must be seconds above 0, at most {high:g}", key=key)
        return float(value)

    def usd(self, key: str, *, required: bool) -> int | None:
        """Read a price in US dollars as a decimal string or a whole number; returns nano-USD, None when absent or bad."""
        self._known.append(key)
        value = self.values.get(key)
        if value is None:
            if required:
                self.problem("is missing", key=key)
            return None
        if isinstance(value, float):
            self.problem(f'write the price as text, "{value}": a float cannot hold money exactly', key=key)
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.problem(f'must be a price in US dollars as text, such as "0.50", not {value!r}', key=key)
            return None
        if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]+)?", value):
            self.problem(f'{value!r} is not a price in US dollars, such as "0.50"', key=key)
            return None
        try:
            nano = usd_to_nano(value)
        except MoneyError as error:
            self.problem(str(error), key=key)
            return None
        if nano < 0:
            self.problem(f"{value!r} is below zero", key=key)
            return None
        return nano

    def texts(self, key: str, *, pattern: str, rule: str) -> tuple[str, ...]:
        """Read a list of different texts, each matching ``pattern``; absent is empty."""
        values: list[Any] = self._take(key, list, required=False) or []
        for value in values:
            if not isinstance(value, str) or not re.fullmatch(pattern, value):
                self.problem(f"{value!r} is not valid: {rule}", key=key)
        good = [value for value in values if isinstance(value, str)]
        if len(set(good)) < len(good):
            self.problem("names one twice", key=key)
        return tuple(good)

    def tables(self, key: str) -> list[Any]:
        """Read a list of tables ([[…]]); absent is empty. Their contents are not looked at yet."""
        return self._take(key, list, required=False) or []

    def table(self, key: str) -> "Fields | None":
        """Read a table ([…]) for reading in its turn; None when it is absent."""
        self._known.append(key)
        if key not in self.values:
            return None
        return Fields(self.values[key], place=f"{self.place}.{key}", problems=self.problems)

    def finish(self) -> None:
        """Refuse the keys that were not read: a setting that nothing enforces must not look as if it did."""
        known = ", ".join(self._known)
        for key in self.values:
            if key not in self._known:
                self.problem(f"unknown key (known: {known})", key=key)
