"""The failures of upstreams, under the name by which the pipeline imports them."""

from gateway.protocols.failures import FailureKind, UpstreamFailure

__all__ = ["FailureKind", "UpstreamFailure"]
