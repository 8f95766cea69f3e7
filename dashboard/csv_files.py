"""CSV files that are written while they are read, whichever server asks, and whose cells no spreadsheet takes for a formula."""

import csv
from collections.abc import AsyncIterator, Iterable, Iterator
from io import StringIO

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

#: How a formula begins.
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(value: object) -> str:
    """Return a cell's text; one that a spreadsheet would run gets an apostrophe before it."""
    text = str(value)
    return f"'{text}" if text.startswith(DANGEROUS) else text


def csv_response(
    request: HttpRequest, batches: Iterable[Iterable[Iterable[object]]], *, name: str
) -> StreamingHttpResponse:
    """Return a file of rows that come in batches; one batch is in memory at a time.

    Django would gather an iterator of the other kind than the server's into one list, and warn.
    """
    chunks = (_text_of(batch) for batch in batches)
    content = _later(chunks) if isinstance(request, ASGIRequest) else chunks
    response = StreamingHttpResponse(content, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _text_of(rows: Iterable[Iterable[object]]) -> str:
    text = StringIO()
    csv.writer(text).writerows([safe_cell(value) for value in row] for row in rows)
    return text.getvalue()


async def _later(chunks: Iterator[str]) -> AsyncIterator[str]:
    following = sync_to_async(lambda: next(chunks, None))
    while (chunk := await following()) is not None:
        yield chunk
