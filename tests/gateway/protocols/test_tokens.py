"""The tokenizer: known counts, any text at all, and a cost that the size of a text bounds."""

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.protocols import tokens
from gateway.protocols.tokens import EXACT_CHARACTERS, count_text, count_texts
from tests.project.sources import PACKAGES, ROOT, python_files

#: Any characters at all, halves of surrogate pairs included, which hardly any strategy makes by itself.
ANYTHING = st.text(st.characters(codec=None) | st.characters(categories=["Cs"]), max_size=200)
SENTENCE = "The quick brown fox jumps over the lazy dog. "


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("a", 1),
        ("hello world", 2),
        # By hand: "t", "ik", "token", " is", " great", "!" (OpenAI's cookbook prints these six).
        ("tiktoken is great!", 6),
        # By the cookbook as well: "2", " +", " ", "2", " =", " ", "4".
        ("2 + 2 = 4", 7),
        # Digits go by threes.
        ("123456789", 3),
        ("1234567890", 4),
        # What means something to a model is plain text here.
        ("<|endoftext|>", 7),
        # Eight letters a token, eight times.
        ("a" * 64, 8),
    ],
)
def test_counts_are_those_of_the_vocabulary(text: str, count: int) -> None:
    assert count_text(text) == count


@settings(max_examples=2000)
@given(ANYTHING)
def test_any_text_has_a_count_of_at_most_its_bytes(text: str) -> None:
    count = count_text(text)
    assert bool(text) <= count <= len(text.encode(errors="surrogatepass"))


@settings(max_examples=2000)
@given(ANYTHING, ANYTHING)
def test_text_that_grows_never_counts_much_less(head: str, tail: str) -> None:
    head, tail = head.encode(errors="replace").decode(), tail.encode(errors="replace").decode()
    apart, together = count_text(head) + count_text(tail), count_text(head + tail)
    # What is joined may be a word that neither part was; and where a word goes on, it may be taken apart anew.
    seam = min(len(head.encode()), 64) + min(len(tail.encode()), 64)
    assert apart - seam <= together <= apart + seam


def test_several_texts_count_together() -> None:
    assert count_texts(("hello world", "", "hello world")) == 4
    assert count_texts(()) == 0


def test_a_long_text_counts_by_a_sample() -> None:
    # The sentence is ten tokens and a full stop-and-space is part of the next one; the last space is a token of its own.
    times = 20_000
    assert len(SENTENCE) * times > EXACT_CHARACTERS * 6
    assert count_text(SENTENCE * times) == pytest.approx(10 * times, rel=0.03)
    # By itself, each sentence has its last space.
    assert count_texts([SENTENCE] * times) == pytest.approx(11 * times, rel=0.03)


def test_a_sample_sees_the_whole_of_a_text() -> None:
    halves = "a" * 500_000 + " a" * 250_000
    # An eighth of the letters, and one for each letter after a space.
    assert count_text(halves) == pytest.approx(62_500 + 250_000, rel=0.03)


@pytest.mark.parametrize("text", ["a", " ", "\n", "1", "!", "я", "漢", "e\u0301", "👩\u200d👧", "ab", "\x00", "\ud800"])
def test_no_text_is_counted_slowly(text: str) -> None:
    long = text * (10_000_000 // len(text))
    count_text("")
    began = time.perf_counter()
    assert count_text(long) > 0
    # It takes some 5 ms, and up to 60 in the worst case known.
    assert time.perf_counter() - began < 1.0


def test_a_count_below_the_limit_is_in_proportion_to_the_text() -> None:
    def seconds(size: int) -> float:
        began = time.perf_counter()
        count_text("a" * size)
        return time.perf_counter() - began

    seconds(1)
    fastest = min(seconds(EXACT_CHARACTERS) for _ in range(5))
    assert fastest < 0.2  # 1.2 ms; a quadratic one would take seconds


def test_the_vocabulary_is_loaded_at_the_first_count_and_costs_what_it_should() -> None:
    program = (
        "import re, sys; from pathlib import Path; from gateway.protocols import request_tokens, tokens;"
        "own = lambda: int(re.search(r'RssAnon:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) / 1024;"
        "before = own(); tokens.count_text('x'); print(own() - before, 'bpe_openai' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    megabytes, whole_package = done.stdout.split()
    assert 20 < float(megabytes) < 45
    assert whole_package == "False"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens.tokenizer.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(tokens, "PACKAGE", "no_such_package")
        with pytest.raises(RuntimeError, match="no_such_package is not installed"):
            tokens.tokenizer()
    tokens.tokenizer.cache_clear()


def test_nothing_else_uses_the_package() -> None:
    # An import contract cannot say this: the module loads the package's extension by hand.
    users = [path for folder in PACKAGES for path in python_files(folder) if "bpe_openai" in path.read_text()]
    assert users == [ROOT / "gateway/protocols/tokens.py"]
