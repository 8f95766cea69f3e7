"""The last look at every log line: whatever has the form of a secret is cut, however it came there.

Code must not log secrets in the first place; this stands behind it, tracebacks and other packages' messages included.
"""

import logging
import re

#: What to look for, and what stays: enough to tell which secret it was, too little to use it.
SECRETS = (
    (re.compile(r"\b(lx-(?:test-)?[0-9A-Za-z]{8})[0-9A-Za-z]{8,}"), r"\1…"),
    (re.compile(r"\b(lm-[0-9A-Za-z]{8})[0-9A-Za-z]{8,}"), r"\1…"),
    (re.compile(r"\b((?:sk|pk|rk|whsec)[-_])[0-9A-Za-z_-]{12,}"), r"\1…"),
    (re.compile(r"(\b(?:bearer|basic)\s+)(?!l[xm]-)[0-9A-Za-z._~+/=-]{8,}", re.IGNORECASE), r"\1…"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+@", re.IGNORECASE), r"\1…@"),
)


def redact(text: str) -> str:
    """Return the text without what looks like a secret."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


class RedactingFormatter(logging.Formatter):
    """Formats as always, then cuts secrets out of the whole: message, arguments and traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line to write."""
        return redact(super().format(record))
