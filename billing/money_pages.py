"""Pages of the admin that move money by hand: a form, then what it will do, then the deed, kept in the log of the row.

A form carries an id that it was made with, and that makes the deed happen once however often it is sent.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from billing.forms import MoneyForm
from billing.payments.errors import PaymentsError
from billing.read_only import AnyModelAdmin, page_of
from billing.services.ledger import LedgerError

TEMPLATE = "admin/billing/money_form.html"
_CONFIRMED, _BACK = "_confirmed", "_back"


class MoneyPage:
    """One thing that an operator does to a workspace's row. Subclasses say which, in words and in deed."""

    #: Its part of the address, its heading, and what is written on its last button.
    name: ClassVar[str]
    title: ClassVar[str]
    button: ClassVar[str]
    #: Beside the permission to look at the row.
    permission: ClassVar[str]
    form: ClassVar[type[MoneyForm]]
    about: ClassVar[str] = ""
    #: Whether the deed and its line in the log are one transaction: not where somebody else's server is asked in between.
    is_one_transaction: ClassVar[bool] = True

    def refusal(self, row: Any) -> str:
        """Return why it cannot be done to a row now; empty where it can."""
        return ""

    def initial(self, row: Any) -> dict[str, Any]:
        """Return what the form begins with."""
        return {}

    def facts(self, row: Any) -> list[tuple[str, object]]:
        """Return what to know while filling in the form: names and values."""
        return []

    def review(self, row: Any, values: Mapping[str, Any]) -> tuple[list[tuple[str, object]], str]:
        """Return what it will do, as names and values, and a warning (empty: none). Raises what ``do`` raises, if it is known."""
        raise NotImplementedError

    def do(self, request: HttpRequest, row: Any, values: Mapping[str, Any]) -> tuple[str, str]:
        """Do it, and return the sentence for the log (empty: it was done before) and the one for the operator.

        Raises LedgerError, PaymentsError and ValueError, with a text for people.
        """
        raise NotImplementedError


class MoneyPages(AnyModelAdmin):
    """An admin with such pages; the row's page gets a button for each."""

    money_pages: tuple[type[MoneyPage], ...] = ()
    change_form_template = "admin/billing/row_with_money_pages.html"

    def get_urls(self) -> list[URLPattern]:
        """Add the pages."""
        own = [
            path(
                f"<path:object_id>/{page.name}/",
                self.admin_site.admin_view(self._view_of(page())),
                name=f"{self.opts.app_label}_{self.opts.model_name}_{page.name}",
            )
            for page in self.money_pages
        ]
        return own + super().get_urls()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show the buttons of what this operator may do to this row now."""
        row = self.get_object(request, unquote(object_id))
        buttons = [
            (page.title, page_of(row, page.name))
            for page in (kind() for kind in self.money_pages)
            if row is not None and self._may(request, page, row) and not page.refusal(row)
        ]
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "money_buttons": buttons})

    def _may(self, request: HttpRequest, page: MoneyPage, row: Any = None) -> bool:
        return self.has_view_permission(request, row) and request.user.has_perm(page.permission)

    def _view_of(self, page: MoneyPage) -> Any:
        def view(request: HttpRequest, object_id: str) -> HttpResponseBase:
            # The permission first: without it nobody learns which rows there are.
            if not self._may(request, page):
                raise PermissionDenied
            row = self.get_object(request, unquote(object_id))
            if row is None:
                self.message_user(
                    request, f"There is no {self.opts.verbose_name} {unquote(object_id)}.", messages.WARNING
                )
                return HttpResponseRedirect(reverse("admin:index"))
            return self._run(request, page, row)

        return view

    def _run(self, request: HttpRequest, page: MoneyPage, row: Any) -> HttpResponseBase:
        if request.method != "POST":
            if refusal := page.refusal(row):
                self.message_user(request, refusal, messages.WARNING)
                return HttpResponseRedirect(page_of(row, "change"))
            return self._show(request, page, row, page.form(initial=page.initial(row)))
        form = page.form(request.POST)
        if not form.is_valid() or _BACK in request.POST:
            return self._show(request, page, row, form)
        try:
            if _CONFIRMED not in request.POST:
                return self._show(request, page, row, form, reviewed=page.review(row, form.cleaned_data))
            self._do(request, page, row, form.cleaned_data)
        except (LedgerError, PaymentsError, ValueError) as error:
            form.add_error(None, str(error))
            return self._show(request, page, row, form)
        return HttpResponseRedirect(page_of(row, "change"))

    def _do(self, request: HttpRequest, page: MoneyPage, row: Any, values: Mapping[str, Any]) -> None:
        with transaction.atomic() if page.is_one_transaction else nullcontext():
            logged, told = page.do(request, row, values)
            if logged:
                self.log_change(request, row, logged)
        self.message_user(request, told, messages.SUCCESS if logged else messages.INFO)

    def _show(
        self,
        request: HttpRequest,
        page: MoneyPage,
        row: Any,
        form: MoneyForm,
        *,
        reviewed: tuple[list[tuple[str, object]], str] | None = None,
    ) -> TemplateResponse:
        facts, warning = reviewed or (page.facts(row), "")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": row,
            "title": page.title,
            "subtitle": str(row),
            "page": page,
            "form": form,
            "facts": [("Workspace", row.workspace.slug), *facts],
            "warning": warning,
            "is_review": reviewed is not None,
            "home": page_of(row, "change"),
        }
        return TemplateResponse(request, TEMPLATE, context)
