"""What becomes of the parts of chat messages in a Messages body: texts, images, files, and what cannot be told."""

import base64
from typing import Any

import pytest

from tests.gateway.translate.chat_calls import HELLO, PNG, body_of, refusal_of, text, turns_of

MARK = {"type": "ephemeral"}
PDF = base64.b64encode(b"%PDF-1.7 ...").decode()


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def file(**fields: str) -> dict[str, Any]:
    return {"type": "file", "file": fields}


def blocks(*parts: dict[str, Any]) -> Any:
    return turns_of(user(*parts))[0]["content"]


def test_a_plain_request_is_a_plain_request() -> None:
    assert body_of(max_tokens=100) == {
        "model": "upstream-model",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": [text("Hello")]}],
    }


def test_text_parts_stay_apart_and_keep_their_order() -> None:
    assert blocks(text("one"), text("two")) == [text("one"), text("two")]


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_blank_text_is_left_out(blank: str) -> None:
    assert blocks(text(blank), text("two")) == [text("two")]
    assert turns_of({"role": "user", "content": blank}, HELLO) == [{"role": "user", "content": [text("Hello")]}]


def test_an_image_by_url_stays_a_url() -> None:
    source = {"type": "url", "url": "https://example.com/cat.jpg"}
    assert blocks(image("https://example.com/cat.jpg"), text("What?")) == [
        {"type": "image", "source": source},
        text("What?"),
    ]


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        ("data:image/png;base64", "image/png"),
        ("DATA:IMAGE/PNG;BASE64", "image/png"),
        ("data:image/jpg;base64", "image/jpeg"),
        ("data:image/jpeg;name=x.jpg;base64", "image/jpeg"),
        ("data:image/gif;base64", "image/gif"),
        ("data:image/webp;base64", "image/webp"),
    ],
)
def test_an_image_in_a_data_url_becomes_its_data(head: str, media_type: str) -> None:
    source = {"type": "base64", "media_type": media_type, "data": PNG}
    assert blocks(image(f"{head},{PNG}")) == [{"type": "image", "source": source}]


def test_an_image_url_may_be_a_bare_string() -> None:
    assert blocks({"type": "image_url", "image_url": "http://x.test/a"}) == [
        {"type": "image", "source": {"type": "url", "url": "http://x.test/a"}}
    ]


def test_the_detail_of_an_image_is_left_out() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://x.test/a", "detail": "high"}}
    assert blocks(part) == [{"type": "image", "source": {"type": "url", "url": "https://x.test/a"}}]


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        (
            "data:image/bmp;base64,AAAA",
            "unsupported_content",
            'takes images in JPEG, PNG, GIF and WebP, not "image/bmp"',
        ),
        ("data:application/pdf;base64,AAAA", "unsupported_content", "Convert it"),
        ("data:image/png;base64,", "invalid_parameter", "not valid base64"),
        ("data:image/png;base64,AAA", "invalid_parameter", "not valid base64"),
        ("data:image/png;base64,AA=A", "invalid_parameter", "not valid base64"),
        ("data:image/png;base64,A===", "invalid_parameter", "not valid base64"),
        ("data:image/png;base64,AA-_", "invalid_parameter", "not valid base64"),
        ("data:image/png;base64,AAé=", "invalid_parameter", "not valid base64"),
        ("data:image/png;base64,AA\nAA", "invalid_parameter", "not valid base64"),
        ('data:image/png;base64,AA"}', "invalid_parameter", "not valid base64"),
        ("data:image/png,AAAA", "invalid_parameter", "data:<media type>;base64,<data>"),
        ("data:image/png;base64", "invalid_parameter", "data:<media type>;base64,<data>"),
        ("ftp://x.test/a.png", "invalid_parameter", "an http(s) URL or a data URL"),
        ("", "invalid_parameter", "an http(s) URL or a data URL"),
    ],
)
def test_an_image_that_is_none_is_refused_by_name(url: str, code: str, words: str) -> None:
    refused = refusal_of(messages=[HELLO, user(text("a"), image(url))])
    assert refused[:2] == (code, "messages[1].content[1]")
    assert words in refused[2]
    assert refused[2].startswith("messages[1].content[1]")


@pytest.mark.parametrize(
    ("given", "source"),
    [
        (
            {"file_data": f"data:application/pdf;base64,{PDF}"},
            {"type": "base64", "media_type": "application/pdf", "data": PDF},
        ),
        ({"file_data": PDF}, {"type": "base64", "media_type": "application/pdf", "data": PDF}),
        ({"file_data": "https://x.test/a.pdf"}, {"type": "url", "url": "https://x.test/a.pdf"}),
        (
            {"file_data": "data:text/csv;charset=utf-8;base64,w7w7MQ=="},
            {"type": "text", "media_type": "text/plain", "data": "ü;1"},
        ),
        (
            {"file_data": "data:application/json;base64,e30="},
            {"type": "text", "media_type": "text/plain", "data": "{}"},
        ),
    ],
)
def test_a_file_becomes_a_document(given: dict[str, str], source: dict[str, str]) -> None:
    assert blocks(file(**given)) == [{"type": "document", "source": source}]
    titled = {"type": "document", "source": source, "title": "notes.x"}
    assert blocks(file(**given, filename="notes.x")) == [titled]


def test_plain_base64_is_text_where_the_name_says_so() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "hi"}
    assert blocks(file(file_data="aGk=", filename="A.MD")) == [{"type": "document", "source": source, "title": "A.MD"}]


def test_an_image_in_a_file_is_an_image() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    assert blocks(file(file_data=f"data:image/png;base64,{PNG}", filename="a.png")) == [
        {"type": "image", "source": source}
    ]


@pytest.mark.parametrize(
    ("given", "code", "param", "words"),
    [
        ({"file_id": "file-1"}, "unsupported_content", "messages[0].content[0]", "Send the file itself as file_data"),
        ({"filename": "a.pdf"}, "missing_parameter", "messages[0].content[0].file.file_data", "is missing"),
        (
            {"file_data": "data:application/zip;base64,AAAA"},
            "unsupported_content",
            "messages[0].content[0]",
            'PDF and text files, not "application/zip"',
        ),
        ({"file_data": "AAAA"}, "invalid_parameter", "messages[0].content[0].file.file_data", "media type is known"),
        (
            {"file_data": "data:application/pdf;base64,?"},
            "invalid_parameter",
            "messages[0].content[0].file.file_data",
            "not valid base64",
        ),
        (
            {"file_data": "data:text/plain;base64,/w=="},
            "invalid_parameter",
            "messages[0].content[0].file.file_data",
            "not text in UTF-8",
        ),
        (
            {"file_data": "data:text/plain;base64,IA=="},
            "invalid_parameter",
            "messages[0].content[0].file.file_data",
            "holds no text",
        ),
    ],
)
def test_a_file_that_cannot_be_told_is_refused(given: dict[str, str], code: str, param: str, words: str) -> None:
    refused = refusal_of(messages=[user(file(**given))])
    assert refused[:2] == (code, param)
    assert words in refused[2]


@pytest.mark.parametrize("kind", ["input_audio", "video_url", "image", "thinking", "input_text"])
def test_other_parts_are_refused_by_name(kind: str) -> None:
    refused = refusal_of(messages=[user(text("a"), {"type": kind, kind: {}})])
    assert refused[:2] == ("unsupported_content", "messages[0].content[1]")


@pytest.mark.parametrize("kind", ["text", "image_url", "file"])
def test_a_part_without_its_content_is_refused(kind: str) -> None:
    assert refusal_of(messages=[user({"type": kind})])[:2] == (
        "missing_parameter",
        f"messages[0].content[0].{kind}",
    )


def test_a_wrong_type_is_named_as_the_client_wrote_it() -> None:
    refused = refusal_of(messages=[user({"type": "file", "file": "x"})])
    assert refused == (
        "invalid_parameter",
        "messages[0].content[0].file",
        "messages[0].content[0].file must be an object, it is a string.",
    )


def test_cache_markers_of_parts_are_kept() -> None:
    marked = {**image("https://x.test/a"), "cache_control": MARK}
    assert blocks(text("a", cache_control={"type": "ephemeral", "ttl": "1h"}), marked) == [
        text("a", cache_control={"type": "ephemeral", "ttl": "1h"}),
        {"type": "image", "source": {"type": "url", "url": "https://x.test/a"}, "cache_control": MARK},
    ]


def test_a_message_s_own_cache_marker_goes_to_its_last_block() -> None:
    assert body_of(
        messages=[
            {"role": "system", "content": "S", "cache_control": MARK},
            {**user(text("a"), text("b")), "cache_control": MARK},
        ]
    ) == {
        "model": "upstream-model",
        "max_tokens": 4096,
        "system": [text("S", cache_control=MARK)],
        "messages": [{"role": "user", "content": [text("a"), text("b", cache_control=MARK)]}],
    }


def test_the_request_s_own_cache_marker_is_kept() -> None:
    assert body_of(cache_control=MARK)["cache_control"] == MARK
