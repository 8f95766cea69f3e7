"""Sessions that a person ends from afar."""

from collections.abc import Iterable

from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession

from accounts.services.audit import record


class SessionsAdapter(DefaultUserSessionsAdapter):  # type: ignore[misc]  # allauth has no types
    """allauth's way to end sessions, written down."""

    def end_sessions(self, sessions: Iterable[UserSession]) -> None:
        """End sessions: whoever uses one has to sign in again at their next click."""
        ended = list(sessions)
        super().end_sessions(ended)
        for session in ended:
            record("account.session_ended", workspace_id=None, actor_id=session.user_id)
