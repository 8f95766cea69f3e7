"""Typed readers of the environment. Every bad or missing value is collected, and the start stops with all of them at once."""

import base64
import binascii
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class EnvironmentVariableError(Exception):
    """One or more environment variables are missing or have a bad value; the message lists them all."""


class Env:
    """Reads variables and remembers what is wrong with them until ``finish`` raises."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values = os.environ if values is None else values
        self.problems: list[str] = []

    def _raw(self, name: str) -> str:
        return self.values.get(name, "").strip()

    def _missing(self, name: str, default: object) -> None:
        if default is None:
            self.problems.append(f"{name} is not set.")

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string; with no default it is required."""
        raw = self._raw(name)
        if not raw:
            self._missing(name, default)
            return default or ""
        return raw

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a boolean from 1/true/yes/on or 0/false/no/off."""
        raw = self._raw(name).lower()
        if raw and raw not in TRUE | FALSE:
            self.problems.append(f"{name} is {raw!r}; say 1 or 0.")
        return default if not raw else raw in TRUE

    def integer(self, name: str, default: int, *, low: int = 0, high: int = 2**31) -> int:
        """Return an integer between ``low`` and ``high``."""
        raw = self._raw(name)
        if not raw:
            return default
        try:
            number = int(raw)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            self.problems.append(f"{name} is {raw!r}; it must be a whole number from {low} to {high}.")
            return default
        return number

    def items(self, name: str, default: list[str] | None = None) -> list[str]:
        """Return the parts of a comma-separated list; with no default at least one is required."""
        parts = [part.strip() for part in self._raw(name).split(",") if part.strip()]
        if not parts:
            self._missing(name, default)
        return parts or default or []

    def url(self, name: str, default: str | None = None, *, schemes: tuple[str, ...]) -> str:
        """Return a URL whose scheme is one of ``schemes``."""
        raw = self.text(name, default)
        if raw and urlsplit(raw).scheme not in schemes:
            # The value is not echoed: a URL of a database holds its password.
            self.problems.append(f"{name} must begin with one of: {', '.join(s + '://' for s in schemes)}.")
        return raw

    def key(self, name: str, default: bytes | None = None) -> bytes:
        """Return 32 bytes written in base64."""
        raw = self._raw(name)
        if not raw:
            self._missing(name, default)
            return default or b""
        try:
            value = base64.b64decode(raw, validate=True)
        except binascii.Error:
            value = b""
        if len(value) != 32:
            self.problems.append(f"{name} must be 32 bytes in base64 (make one: openssl rand -base64 32).")
        return value

    def finish(self) -> None:
        """Raise EnvironmentVariableError with every problem found so far, if there is one."""
        if self.problems:
            raise EnvironmentVariableError("The settings cannot be used:\n  - " + "\n  - ".join(self.problems))
