"""The admin's forms of upstreams and models: the rules of the catalog file, said beside the field."""

import re
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from gateway.admin.price_form import FREE_HELP, PriceFields
from gateway.admin.versions import CLASSES
from gateway.models import CatalogModel, Upstream
from gateway.models.catalog import ModelKind, Protocol
from gateway.services.catalog_spec import CREDENTIAL_PATTERN, CREDENTIAL_RULE, TAG_PATTERN, TAG_RULE, TIMEOUTS
from gateway.services.upstream_urls import url_problems

if TYPE_CHECKING:  # Django's classes take their parameters in the eyes of the type checker only
    UpstreamModelForm = forms.ModelForm[Upstream]
    CatalogModelModelForm = forms.ModelForm[CatalogModel]
else:
    UpstreamModelForm = CatalogModelModelForm = forms.ModelForm


class UpstreamForm(UpstreamModelForm):
    """An upstream with its credential, which goes in and is never shown."""

    credential = forms.CharField(
        required=False,
        max_length=4000,
        strip=True,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
    )
    remove_credential = forms.BooleanField(required=False, help_text="Forget the stored credential.")

    class Meta:
        model = Upstream
        fields = (
            "name",
            "provider",
            "protocol",
            "base_url",
            "allow_private_network",
            "is_enabled",
            *TIMEOUTS,
        )
        help_texts: ClassVar = {
            "name": "For operators only. It cannot be changed later: the credential is bound to it.",
            "provider": 'Picks the adapter and its profile, such as "openai"; "openai-compatible" is the generic one.',
            "base_url": 'Such as "https://api.openai.com/v1", without a slash at the end; empty for the sandbox.',
            "allow_private_network": "Only for an upstream inside your own network.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = bool(self.instance.credential)
        self.fields["credential"].help_text = (
            "One is stored, encrypted. Leave empty to keep it." if stored else "None is stored."
        )
        if not stored:
            del self.fields["remove_credential"]
        for name in TIMEOUTS:
            self.fields[name].help_text = "Seconds."
            self.fields[name].validators += [MinValueValidator(0.001), MaxValueValidator(3600)]

    def clean_credential(self) -> str:
        """Take visible ASCII only: anything else breaks the header that it travels in."""
        value: str = self.cleaned_data["credential"]
        if value and not re.fullmatch(CREDENTIAL_PATTERN, value):
            raise forms.ValidationError(f"Not valid: {CREDENTIAL_RULE}.")
        return value

    def clean(self) -> dict[str, Any]:
        """Check what depends on several fields."""
        values = super().clean() or self.cleaned_data
        protocol = values.get("protocol", "")
        if protocol and "base_url" in values:
            allowed = bool(values.get("allow_private_network"))
            for problem in url_problems(protocol, values["base_url"], allow_private_network=allowed):
                self.add_error("base_url", _sentence(problem))
        if values.get("credential") and protocol == Protocol.SANDBOX:
            self.add_error("credential", "The sandbox takes no credential.")
        if values.get("credential") and values.get("remove_credential"):
            self.add_error("remove_credential", "Give a new credential or remove the stored one, not both.")
        moved = {"base_url", "protocol"} & set(self.changed_data)
        is_kept = self.instance.pk and self.instance.credential and not values.get("remove_credential")
        if moved and is_kept and not values.get("credential"):
            # Else who may change an upstream could have the stored one sent to a server of theirs.
            self.add_error("credential", "The stored one goes to no other address: give it again, or remove it.")
        return values


def _sentence(problem: str) -> str:
    text = problem[0].upper() + problem[1:]
    return text if text.endswith(".") else text + "."


class CatalogModelForm(PriceFields, CatalogModelModelForm):
    """A model, a new one with its price. The price of one that is there has a page of its own (gateway.admin.prices)."""

    class Meta:
        model = CatalogModel
        fields = (
            "public_id",
            "display_name",
            "description",
            "kind",
            "context_window",
            "max_output_tokens",
            "tags",
            "supports_streaming",
            "is_free",
            "is_enabled",
        )
        labels: ClassVar = {"public_id": "Id"}
        help_texts: ClassVar = {
            "public_id": "What clients send as model. Changing it makes calls of the old id fail.",
            "context_window": "Tokens.",
            "max_output_tokens": "Tokens; empty: as many as the context holds.",
            "tags": "Separated by commas: streaming, vision, tools, reasoning, uncensored.",
            "is_free": FREE_HELP,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            for name in CLASSES:
                del self.fields[f"price_{name}"]

    def clean_tags(self) -> list[str]:
        """Take tags as the catalog file does."""
        tags: list[str] = [tag.strip() for tag in self.cleaned_data["tags"] or []]
        bad = [tag for tag in tags if not re.fullmatch(TAG_PATTERN, tag)]
        if bad or len(set(tags)) < len(tags):
            raise forms.ValidationError(f"Use {TAG_RULE}, each once.")
        return tags

    def clean(self) -> dict[str, Any]:
        """Check what depends on several fields, and read a new model's price."""
        values = super().clean() or self.cleaned_data
        self._clean_limits(values)
        if values.get("supports_streaming") is False and "streaming" in values.get("tags", []):
            self.add_error("supports_streaming", 'The tag "streaming" says the opposite.')
        if not self.instance.pk:
            self.rates = self.clean_price(values, kind=values.get("kind", ""), is_required=False)
        return values

    def _clean_limits(self, values: dict[str, Any]) -> None:
        context, limit = values.get("context_window"), values.get("max_output_tokens")
        if context == 0:
            self.add_error("context_window", "It must be above 0.")
        if values.get("kind") == ModelKind.EMBEDDING:
            if limit is not None:
                self.add_error("max_output_tokens", "An embedding model generates no tokens; leave it empty.")
            values["supports_streaming"] = False
        elif limit is None and context:
            values["max_output_tokens"] = context
        elif limit is not None and context and not 0 < limit <= context:
            self.add_error("max_output_tokens", f"It must be from 1 to the context window, {context}.")
