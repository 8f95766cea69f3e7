"""What the strict upstream answers to whom: a word in brackets in the last user text, ``[three-tools]``, chooses the scenario.

A scenario is a row of turns: the first answers the question, the next what the tools returned. All that comes out is said here
once, so that a test can write down by hand what a client must see, whatever protocols lie between.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.turns import Block, Counts, Turn

WORD = re.compile(r"\[([a-z0-9:._/-]+)\]")
HELLO = "Hello from the other side."
LONG = 'Grüße aus Köln, 世界! A line\nbreak, a "quote", a \\ and an emoji: 🌍.'
THOUGHT = "First I weigh the question, then I answer it."
SECOND_THOUGHT = "The tools have answered; now I can sum up."
CITY = '{"city":"Paris","people":2100000}'


@dataclass(frozen=True)
class Ask:
    """A request as a scenario sees it."""

    protocol: str
    body: dict[str, Any]
    text: str
    #: Assistant messages after the last user text.
    turn: int

    @property
    def word(self) -> str:
        """The scenario's name."""
        found = WORD.search(self.text)
        return found[1] if found else "plain"


def ask_of(protocol: str, body: dict[str, Any]) -> Ask:
    """Return the request as a scenario sees it."""
    text, turn = "", 0
    for message in body.get("messages", []):
        if message["role"] == "assistant":
            turn += 1
        elif message["role"] == "user" and (found := _text_of(message["content"])):
            text, turn = found, 0
    return Ask(protocol, body, text, turn)


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def text(words: str) -> Block:
    """Return a block of text."""
    return Block("text", words)


def tool(identity: str, name: str, **arguments: Any) -> Block:
    """Return a tool call."""
    return Block("tool", json.dumps(arguments, ensure_ascii=False), name, identity)


PARIS = tool("call_paris_1", "get_weather", city="Paris")
ROME = tool("call_rome_2", "get_weather", city="Rome", days=3)
OSLO = tool("call_oslo_3", "get_time", zone="Europe/Oslo", note='say "hi" 🌍')
THREE = (PARIS, ROME, OSLO)


def _describe_images(ask: Ask) -> Turn:
    seen: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("type") == "image_url":
                url = value["image_url"]["url"]
                seen.append(
                    url if not url.startswith("data:") else f"{url[5:].split(';')[0]} of {len(url.split(',')[1])}"
                )
            elif value.get("type") == "image":
                source = value["source"]
                seen.append(
                    source["url"] if source["type"] == "url" else f"{source['media_type']} of {len(source['data'])}"
                )
            else:
                for inner in value.values():
                    walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(ask.body["messages"])
    return Turn((text("I see: " + "; ".join(seen) + "."),), usage=Counts(input=900, output=9))


def _sum_up(ask: Ask) -> Turn:
    """Say what the tools returned, in the order of the calls."""
    said: list[str] = []
    for message in ask.body["messages"]:
        if message["role"] == "tool":
            said.append(_text_of(message["content"]))
        elif isinstance(message["content"], list):
            said.extend(
                ("error: " if block.get("is_error") else "") + _text_of(block.get("content", ""))
                for block in message["content"]
                if block.get("type") == "tool_result"
            )
    return Turn((text("The tools said: " + "; ".join(said) + "."),), usage=Counts(input=60, output=12))


def _think_and_sum_up(ask: Ask) -> Turn:
    turn = _sum_up(ask)
    return Turn((Block("thinking", SECOND_THOUGHT), *turn.blocks), usage=Counts(input=80, output=20, reasoning=0))


type Step = Turn | Callable[[Ask], Turn]
SCENARIOS: dict[str, tuple[Step, ...]] = {
    "plain": (Turn((text(HELLO),)),),
    "long": (Turn((text(LONG),), usage=Counts(input=21, output=33), pieces=12),),
    "one-tool": (Turn((PARIS,), "tools"), _sum_up),
    "three-tools": (Turn((text("Let me look."), *THREE), "tools", Counts(input=50, output=40)), _sum_up),
    "args-one": (Turn((PARIS,), "tools", pieces=1), _sum_up),
    "args-many": (Turn((OSLO,), "tools", pieces=40), _sum_up),
    "args-end": (Turn((PARIS, OSLO), "tools", pieces=0), _sum_up),
    "args-none": (Turn((tool("call_none_4", "get_news"),), "tools"), _sum_up),
    "think": (Turn((Block("thinking", THOUGHT), text(HELLO)), usage=Counts(input=15, output=30)),),
    "redacted": (Turn((Block("redacted"), text(HELLO)), usage=Counts(input=15, output=30)),),
    "think-tools": (
        Turn(
            (Block("thinking", THOUGHT), Block("redacted"), text("Let me look."), PARIS, OSLO),
            "tools",
            Counts(input=50, output=60),
        ),
        _think_and_sum_up,
    ),
    "schema": (Turn((text(CITY),)),),
    "schema-think": (Turn((Block("thinking", THOUGHT), text(CITY)), usage=Counts(input=15, output=30)),),
    "look": (_describe_images,),
    "stop-length": (Turn((text("This answer is cut"),), "length"),),
    "stop-sequence": (Turn((text("Before the word "),), "sequence"),),
    "stop-refusal": (Turn((text("I will not"),), "refusal"),),
    "stop-pause": (Turn((text("A pause."),), "pause"),),
    "cached": (Turn((text(HELLO),), usage=Counts(input=12, cache_read=1000, cache_write=200, output=7)),),
    "slow": (Turn((text(HELLO),), pieces=6),),
}

#: What each lie about usage says: to chat, to messages.
LIES: dict[str, tuple[Any, Any]] = {
    "usage-negative": (
        {"prompt_tokens": -5, "completion_tokens": -7, "total_tokens": -12},
        {"input_tokens": -5, "output_tokens": -7},
    ),
    "usage-huge": (
        {"prompt_tokens": 10**15, "completion_tokens": 10**15, "total_tokens": 2 * 10**15},
        {"input_tokens": 10**15, "output_tokens": 10**15},
    ),
    "usage-zero": (
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"input_tokens": 0, "output_tokens": 0},
    ),
    "usage-missing": (None, None),
    "usage-strings": (
        {"prompt_tokens": "eleven", "completion_tokens": "7", "total_tokens": "lots"},
        {"input_tokens": "eleven", "output_tokens": "7"},
    ),
    "usage-cached-over": (
        {
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "total_tokens": 18,
            "prompt_tokens_details": {"cached_tokens": 9000},
        },
        {
            "input_tokens": 11,
            "output_tokens": 7,
            "cache_read_input_tokens": -9000,
            "cache_creation_input_tokens": 10**12,
        },
    ),
}


def turn_for(ask: Ask) -> Turn:
    """Return the answer. A word that is no scenario is answered plainly: it may be the name of a fault."""
    if ask.word in LIES:
        chat, messages = LIES[ask.word]
        return Turn((text(HELLO),), told=chat if ask.protocol == "openai_chat" else messages)
    steps = SCENARIOS.get(ask.word, SCENARIOS["plain"])
    step = steps[min(ask.turn, len(steps) - 1)]
    return step if isinstance(step, Turn) else step(ask)
