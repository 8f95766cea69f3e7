"""What reading a request's body comes to in every protocol: one check of the JSON, one typed decode, and names that are refused."""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw

from gateway.protocols.jsoncheck import InvalidJsonError, check_json
from gateway.protocols.wording import RequestShapeError, grammar_error, shape_error

MAX_MODEL_NAME = 256

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


def read_body[T](body: bytes, decode_view: Callable[[bytes], T]) -> tuple[T, dict[str, Raw]]:
    """Return what ``decode_view`` reads of a body, and all its fields byte for byte. Raises RequestShapeError."""
    try:
        check_json(body)
        return decode_view(body), _decode_fields(body)
    except InvalidJsonError as error:
        raise RequestShapeError("invalid_json", error.message) from None
    except msgspec.ValidationError as error:
        raise shape_error(error) from None
    except msgspec.DecodeError as error:
        raise grammar_error(error, body) from None


def check_model_name(model: str) -> None:
    """Refuse a name that no model can have. Raises RequestShapeError."""
    if not model or len(model) > MAX_MODEL_NAME:
        raise RequestShapeError("invalid_parameter", f"model must be 1 to {MAX_MODEL_NAME} characters long.", "model")


def check_names(fields: dict[str, Raw], *, read: frozenset[str], unpriced: Mapping[str, tuple[bytes, ...]]) -> None:
    """Refuse what would make the upstream serve another request than the one that is priced. Raises RequestShapeError.

    ``read`` are the names that we read ourselves; ``unpriced`` those of work that was not priced, each with its harmless values.
    """
    for name in fields.keys() - read:
        if name in unpriced and bytes(fields[name]) not in unpriced[name]:
            raise RequestShapeError("unsupported_parameter", f"{name} is not supported. Leave it out.", name)
        # Servers written in Go read a field in any case, Unicode's look-alikes included, and the last one counts.
        folded = name.casefold()
        if folded != name and (folded in read or folded in unpriced):
            raise RequestShapeError("invalid_parameter", f"{folded} must be written in lower case.", folded)
