"""The form that asks what has to be said before an account is deleted."""

from typing import TYPE_CHECKING, Any

from django import forms

from dashboard.flows.account import Fate, OwnedWorkspace

if TYPE_CHECKING:
    from accounts.models import User

DELETE = "delete"


class DeletionForm(forms.Form):
    """The typed address, and for each workspace its next owner or the end."""

    email = forms.CharField(max_length=254)

    def __init__(self, *args: Any, user: "User", owned: list[OwnedWorkspace], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.owned = {self.field_of(each): each for each in owned}
        for name, each in self.owned.items():
            successors = [
                (str(member.user_id), f"Hand it over to {_called(member.user)}") for member in each.successors
            ]
            self.fields[name] = forms.ChoiceField(
                choices=[("", "Choose…"), (DELETE, "Delete it"), *successors]
                if successors
                else [(DELETE, "Delete it")],
                label=each.workspace.name,
                error_messages={"required": "Choose what becomes of this workspace."},
            )

    @staticmethod
    def field_of(each: OwnedWorkspace) -> str:
        """Return the name of a workspace's field."""
        return f"workspace-{each.workspace.pk}"

    def clean_email(self) -> str:
        """Compare what was typed with the address of the account."""
        typed = str(self.cleaned_data["email"]).strip().lower()
        if typed != self.user.email:
            raise forms.ValidationError("That is not the address of this account. Type it as it is written above.")
        return typed

    def rows(self) -> list[tuple[OwnedWorkspace, forms.BoundField]]:
        """Return the workspaces with their fields."""
        return [(each, self[name]) for name, each in self.owned.items()]

    def fate(self) -> Fate:
        """Return what becomes of each workspace."""
        said = {each.workspace.pk: self.cleaned_data[name] for name, each in self.owned.items()}
        return {workspace_id: None if word == DELETE else int(word) for workspace_id, word in said.items()}


def _called(person: "User") -> str:
    return f"{person.name} ({person.email})" if person.name else person.email
