"""Counts the tokens of text with OpenAI's vocabulary o200k, which ships in its package: exact up to a size, then from a sample.

Nothing is downloaded. The vocabulary is loaded at the first count: 0.1 s, in which the process does nothing else, and 34 MB
(with 32 MB more of the package's file mapped, which processes share). A count takes 5 ms for each 128 Ki characters, holds the
interpreter's lock, and is linear for every text that was tried, hostile ones too; the sample bounds it.

For models of other families the count is an estimate, and no bound: see docs/decisions/0011-counting-tokens.md.
"""

from collections.abc import Sequence
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Protocol

PACKAGE, EXTENSION, VOCABULARY = "bpe_openai", "bpe_openai._bindings", "o200k_base"
#: Characters up to which every one is counted. Of longer texts as many are, in windows at even distances.
EXACT_CHARACTERS = 128 * 1024
WINDOWS = 64


class Tokenizer(Protocol):
    """What we use of the package."""

    def count(self, text: str) -> int:
        """Return the number of tokens. Raises UnicodeEncodeError for half of a surrogate pair."""
        ...


@cache
def tokenizer() -> Tokenizer:
    """Return the tokenizer, loaded once a process."""
    # The extension without the package around it: that would build three vocabularies anew in Python, 63 MB and 0.5 s, for
    # functions that we do not use.
    package = find_spec(PACKAGE)
    spec = PathFinder.find_spec(EXTENSION, package.submodule_search_locations) if package is not None else None
    if spec is None or spec.loader is None:
        raise RuntimeError(f"the package {PACKAGE} is not installed as requirements.txt says")
    extension = module_from_spec(spec)
    spec.loader.exec_module(extension)
    made: Tokenizer = extension.tokenizer_for_encoding(VOCABULARY)
    return made


def count_text(text: str) -> int:
    """Return the tokens of a text; never raises for what is in it."""
    return count_texts((text,))


def count_texts(texts: Sequence[str]) -> int:
    """Return the tokens of all texts together, from a sample where they are long (to about 2 %, 5 % where kinds of text mix)."""
    total = sum(map(len, texts))
    if total <= EXACT_CHARACTERS:
        return sum(map(_count, texts))
    whole = texts[0] if len(texts) == 1 else "\n".join(texts)
    size = EXACT_CHARACTERS // WINDOWS
    distance = (len(whole) - size) / (WINDOWS - 1)
    starts = [int(window * distance) for window in range(WINDOWS)]
    sampled = sum(_count(whole[start : start + size]) for start in starts)
    return max(1, round(sampled * len(whole) / EXACT_CHARACTERS))


def _count(text: str) -> int:
    try:
        return tokenizer().count(text)
    except UnicodeEncodeError:
        # Halves of surrogate pairs are no text; each counts as what most decoders put in its place.
        return tokenizer().count(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
