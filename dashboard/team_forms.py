"""What people type about workspaces, members and the audit log, checked."""

import datetime as dt
import zoneinfo
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django import forms

from accounts.audit_actions import GROUPS
from accounts.roles import ROLE_WORDS, Role
from accounts.selectors.audit import AuditFilter
from lumyx.lib import clock

if TYPE_CHECKING:
    from accounts.models import Membership, User, Workspace

#: The largest id that PostgreSQL compares with.
MAX_ID = 2**63 - 1


class InviteForm(forms.Form):
    """Whom to invite, as what."""

    email = forms.CharField(
        max_length=254,
        error_messages={
            "required": "Enter the person’s e-mail address.",
            "max_length": "An e-mail address has at most 254 characters.",
        },
    )
    role = forms.ChoiceField(error_messages={"required": "Choose a role.", "invalid_choice": "Choose a role."})

    def __init__(self, *args: Any, roles: Sequence[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choices(self, "role", [(role.value, ROLE_WORDS[role]) for role in roles])


class RoleForm(forms.Form):
    """Another role for a member."""

    role = forms.ChoiceField(error_messages={"required": "Choose a role.", "invalid_choice": "Choose a role."})

    def __init__(self, *args: Any, roles: Sequence[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choices(self, "role", [(role.value, ROLE_WORDS[role]) for role in roles])


class NewWorkspaceForm(forms.Form):
    """A workspace's name."""

    name = forms.CharField(
        max_length=120,
        error_messages={"required": "Give the workspace a name.", "max_length": "Use at most 120 characters."},
    )


class WorkspaceSettingsForm(NewWorkspaceForm):
    """What people change about a workspace."""

    slug = forms.CharField(
        max_length=60, error_messages={"required": "Enter a slug.", "max_length": "Use at most 60 characters."}
    )
    time_zone = forms.ChoiceField(error_messages={"invalid_choice": "Choose a time zone from the list."})

    def __init__(self, *args: Any, present: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = time_zones()
        _choices(self, "time_zone", [(name, name) for name in (names if present in names else (present, *names))])


class TypedNameForm(forms.Form):
    """Typing the workspace's name proves that the right one is meant."""

    name = forms.CharField(max_length=120, error_messages={"required": "Type the workspace’s name."})

    def __init__(self, *args: Any, workspace: "Workspace", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wanted = workspace.name

    def clean_name(self) -> str:
        """Refuse anything but the name itself."""
        name: str = self.cleaned_data["name"]
        if name != self.wanted:
            raise forms.ValidationError("That is not its name. Type “%(name)s”.", params={"name": self.wanted})
        return name


class TransferForm(TypedNameForm):
    """Who shall own the workspace."""

    member = forms.ChoiceField(error_messages={"required": "Choose a member.", "invalid_choice": "Choose a member."})

    def __init__(self, *args: Any, members: Sequence["Membership"], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choices(self, "member", [(str(m.pk), m.user.name or m.user.email) for m in members])


class AuditFilterForm(forms.Form):
    """The audit page's address line: ``group``, ``person``, ``from`` and ``to`` (days in the workspace's zone)."""

    group = forms.ChoiceField(choices=[("", "Everything"), *GROUPS.items()], required=False)
    person = forms.ChoiceField(required=False)
    to = forms.DateField(required=False, error_messages={"invalid": "Write the last day as 2026-01-31."})

    def __init__(self, data: Mapping[str, Any], *, people: Sequence["User"]) -> None:
        super().__init__(data)
        _choices(self, "person", [("", "Everybody"), *((str(user.pk), user.name or user.email) for user in people)])
        # "from" is a Python keyword, so it cannot be declared like the others.
        self.fields["from"] = forms.DateField(
            required=False, error_messages={"invalid": "Write the first day as 2026-01-31."}
        )

    def clean(self) -> dict[str, Any]:
        """Refuse days in the wrong order."""
        first, last = self.cleaned_data.get("from"), self.cleaned_data.get("to")
        if first and last and first > last:
            raise forms.ValidationError("The first day must not be after the last.")
        return self.cleaned_data

    def chosen(self, zone: str) -> AuditFilter:
        """Return which lines to show. What is wrong in the address narrows nothing; the page names it."""
        values = self.cleaned_data if self.is_valid() else {}
        first, last = values.get("from"), values.get("to")
        person = values.get("person")
        return AuditFilter(
            action=values.get("group", ""),
            actor_kind="user" if person else "",
            actor_id=int(person) if person else None,
            since=_midnight(first, zone) if first else None,
            until=_midnight(last + dt.timedelta(days=1), zone) if last and last < dt.date.max else None,
        )


@lru_cache(maxsize=1)
def time_zones() -> tuple[str, ...]:
    """Return the names of time zones to choose from: UTC, then places by their continent."""
    names = {
        name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith(("Etc/", "SystemV/"))
    }
    return ("UTC", *sorted(names))


def _midnight(day: dt.date, zone: str) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), tzinfo=clock.zone(zone))


def _choices(form: forms.Form, name: str, choices: list[tuple[str, str]]) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101  narrows the type; declared in the class
    field.choices = choices
