"""What a client is told when an upstream fails: ours to fix is a 502, 503 or 504; the client's own content is a 400. Pure.

Nothing of the upstream (name, host, words) is in the message; its detail goes to the log only.
"""

from gateway.errors import ApiError, retry_after
from gateway.protocols.failures import FailureKind, UpstreamFailure

#: Seconds after which a request that an upstream rate-limited may be tried again, when it named none; and at most.
DEFAULT_PAUSE, LONGEST_PAUSE = 2, 20


def error_for(failure: UpstreamFailure) -> ApiError:
    """Return the client's error for an upstream's failure."""
    match failure.kind:
        case FailureKind.CLIENT_CONTENT if failure.code == "context_length_exceeded":
            return ApiError(
                400, "context_length_exceeded", "What you sent is longer than the model's context window. Shorten it."
            )
        case FailureKind.CLIENT_CONTENT:
            return ApiError(
                400,
                "invalid_parameter",
                "The model's provider refused the content of this request. Check the parameters, the content and its length.",
            )
        case FailureKind.RATE_LIMITED:
            pause = min(LONGEST_PAUSE, max(1, int(failure.retry_after or DEFAULT_PAUSE)))
            return ApiError(
                503,
                "upstream_unavailable",
                "The model's provider is busy. Try again in a moment.",
                headers=[retry_after(pause)],
            )
        case FailureKind.TIMEOUT:
            return ApiError(504, "upstream_timeout", "The model's provider did not answer in time. Try again.")
        case FailureKind.INVALID:
            return ApiError(
                502, "upstream_invalid_response", "The model's provider sent an answer that is not valid. Try again."
            )
        case FailureKind.CUT:
            return ApiError(
                502, "upstream_error", "The model's provider broke off in the middle of the answer. Try again."
            )
        case _:
            return ApiError(502, "upstream_error", "The model's provider failed. Try again, or use another model.")
