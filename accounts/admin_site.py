"""The operators' admin site: whatever is added, changed or deleted in it is written into the audit log, in the same transaction.

One hook for every model: each registered admin is given the mix-in below, whichever app it comes from.
"""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from accounts.models import User, Workspace
from accounts.services.audit import record

ACTION = "operator.changed"


class AuditedAdmin:
    """Beside Django's own history of a row, a line in the audit log: which row, and which fields; never their contents."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Write an addition down."""
        _record(obj, "added", message)
        return super().log_addition(request, obj, message)  # type: ignore[misc]  # of the admin that it is mixed into

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Write a change down."""
        _record(obj, "changed", message)
        return super().log_change(request, obj, message)  # type: ignore[misc]  # see above

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Model]) -> Any:
        """Write deletions down."""
        for obj in queryset:
            _record(obj, "deleted", "")
        return super().log_deletions(request, queryset)  # type: ignore[misc]  # see above


class OperatorSite(AdminSite):
    """Django's admin site with that hook."""

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: "type[ModelAdmin[Any]] | None" = None,
        **options: Any,
    ) -> None:
        """Register a model with an admin that writes down what is done in it."""
        kind: Any = admin_class or ModelAdmin
        audited = kind if issubclass(kind, AuditedAdmin) else type(kind.__name__, (AuditedAdmin, kind), {})
        super().register(model_or_iterable, audited, **options)


def _record(obj: Model, what: str, message: Any) -> None:
    # People are named by their ids.
    name = "" if isinstance(obj, User) else str(obj)
    record(
        ACTION,
        workspace_id=obj.pk if isinstance(obj, Workspace) else getattr(obj, "workspace_id", None),
        target=(str(obj._meta.model_name), obj.pk, name),
        details={"what": f"{what} {obj._meta.verbose_name}", "fields": _fields_of(message)},
    )


def _fields_of(message: Any) -> list[str]:
    """Return the names of the fields that Django's message about a change names."""
    if not isinstance(message, list):
        return []
    return [str(field) for part in message for told in part.values() for field in told.get("fields", ())]
