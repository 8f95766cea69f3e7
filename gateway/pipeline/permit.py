"""What a key may call and what a model can do: checked before anything is counted or charged. Pure."""

from dataclasses import replace

from billing.rating import Rates
from gateway.errors import ApiError, shown
from gateway.protocols.generation import Generation
from gateway.types import CatalogSnapshot, ModelInfo, Principal

UNCENSORED = "uncensored"
NO_RATES = Rates(input=0, output=0)
#: Where a policy is read and accepted; its name follows.
POLICY_PAGE = "/dashboard/policies/"
#: By the kind that the model is of.
_WRONG_KIND = {
    "chat": "`{}` is a chat model, not an embedding model. The page /models shows which ones are.",
    "embedding": "`{}` is an embedding model, not a chat model: it answers /embeddings only.",
}


def can_see(model: ModelInfo, principal: Principal | None, *, sandbox_is_open: bool) -> bool:
    """Tell whether a model exists for a caller. Sandbox models in production: for test keys only; those see nothing else."""
    if principal is not None and principal.is_test:
        return model.is_sandbox
    return sandbox_is_open or not model.is_sandbox


def can_use(model: ModelInfo, principal: Principal | None) -> bool:
    """Tell whether a key's list of models includes this one, by its id or its provider (an empty list: all)."""
    return (
        principal is None
        or not principal.is_limited_to_models
        or model.public_id in principal.allowed_models
        or model.public_id.startswith(principal.allowed_prefixes)
    )


def on_terms_of(principal: Principal, model: ModelInfo) -> ModelInfo:
    """Return a model as it is priced for a caller: nothing costs a test key anything."""
    return replace(model, rates=NO_RATES, price_id=None) if principal.is_test else model


def find_model(
    catalog: CatalogSnapshot, public_id: str, *, principal: Principal | None, sandbox_is_open: bool
) -> ModelInfo:
    """Return the model that a caller asked for. Raises ApiError 404 model_not_found, 403 model_not_allowed."""
    model = catalog.models.get(public_id)
    if model is None or not can_see(model, principal, sandbox_is_open=sandbox_is_open):
        raise ApiError(
            404, "model_not_found", f"There is no model `{shown(public_id)}`. GET /api/v1/models lists them."
        )
    if not can_use(model, principal):
        raise ApiError(
            403,
            "model_not_allowed",
            f"This API key may not use `{model.public_id}`. GET /api/v1/models lists what it may; "
            "its list is changed at /dashboard/api-keys.",
        )
    return model


def check_model(
    request: Generation, *, model: ModelInfo, principal: Principal, kind: str = "chat", site_url: str = ""
) -> None:
    """Raise the ApiError for a model that cannot serve this request, or that the workspace may not use yet.

    ``site_url`` is where the pages are that its text leads to.
    """
    name = model.public_id
    if model.kind != kind:
        raise ApiError(400, "wrong_model_kind", _WRONG_KIND[model.kind].format(name))
    if model.is_free and not principal.email_verified:
        raise ApiError(
            403,
            "email_not_verified",
            "Free models need a verified e-mail address. The link is in your inbox; /dashboard sends it again.",
        )
    if UNCENSORED in model.tags and UNCENSORED not in principal.policies:
        raise ApiError(
            403,
            "policy_not_accepted",
            f"`{name}` needs the acceptance of the policy `{UNCENSORED}`. The owner or an admin of the workspace accepts it at "
            f"{site_url}{POLICY_PAGE}{UNCENSORED}",
        )
    if model.is_free and request.n > 1:
        # The daily limit counts requests; each choice is an answer of its own.
        raise ApiError(
            400, "unsupported_parameter", f"n is 1 for free models such as `{name}`. Send one request a choice."
        )
    if request.stream and not model.supports_streaming:
        raise ApiError(400, "model_lacks_streaming", f"`{name}` cannot stream. Send the request without `stream`.")
    if request.has_tools and "tools" not in model.tags:
        raise ApiError(
            400, "model_lacks_tools", f"`{name}` does not support tools. GET /api/v1/models shows which models do."
        )
    if request.images and "vision" not in model.tags:
        raise ApiError(
            400, "model_lacks_vision", f"`{name}` does not accept images. GET /api/v1/models shows which models do."
        )
    if request.wants_reasoning and "reasoning" not in model.tags:
        raise ApiError(
            400,
            "model_lacks_reasoning",
            f"`{name}` does not reason: it supports no `reasoning_effort` and no `thinking`.",
        )
