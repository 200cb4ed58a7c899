"""Who may see the page: a token opens it once, and gives the page a pass that it shows with each question.

The pass lives in the page alone, so no other site can use it, and it works in a frame, where browsers keep cookies
back. Knows nothing of what the page shows.
"""

import hmac
import secrets
import time
from dataclasses import dataclass, field

TOKEN_SECONDS = 300.0


@dataclass(slots=True)
class Doorman:
    """Tokens that wait to be used, and the pass of those who have come in; all gone with the process."""

    _tokens: dict[str, float] = field(default_factory=dict)
    _pass: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def token(self) -> str:
        """A fresh token, good once and for five minutes."""
        now = time.monotonic()
        self._tokens = {token: until for token, until in self._tokens.items() if until > now}
        token = secrets.token_urlsafe(24)
        self._tokens[token] = now + TOKEN_SECONDS
        return token

    def admit(self, token: str) -> str | None:
        """The pass for a token that was good, which it no longer is; None otherwise."""
        return self._pass if self._tokens.pop(token, 0.0) > time.monotonic() else None

    def knows(self, authorization: str) -> bool:
        """Whether a request's Authorization header shows the pass."""
        return hmac.compare_digest(authorization.encode(), f"Bearer {self._pass}".encode())
