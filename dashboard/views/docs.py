"""The documentation: pages, each page's Markdown, and llms.txt, all from docs/guide."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.guide import Chapter, chapter_by_slug, chapters, llms_text


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Show the first page."""
    return _answer(request, _find("index"))


@require_safe
def page(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a page by its slug."""
    chapter = _find(slug)
    return HttpResponsePermanentRedirect(chapter.href) if slug == "index" else _answer(request, chapter)


@require_safe
def source(request: HttpRequest, slug: str) -> HttpResponse:
    """Return a page's Markdown, for people who hand it to a language model."""
    return HttpResponse(_find(slug).source, content_type="text/markdown; charset=utf-8")


@require_safe
def llms(request: HttpRequest) -> HttpResponse:
    """Return the whole documentation as one text."""
    return HttpResponse(llms_text(), content_type="text/plain; charset=utf-8")


def _find(slug: str) -> Chapter:
    chapter = chapter_by_slug(slug)
    if chapter is None:
        raise Http404
    return chapter


def _answer(request: HttpRequest, chapter: Chapter) -> HttpResponse:
    every = chapters()
    at = every.index(chapter)
    context = {
        "chapter": chapter,
        "chapters": every,
        "previous": every[at - 1] if at else None,
        "next": every[at + 1] if at + 1 < len(every) else None,
    }
    return render(request, "docs/page.html", context)
