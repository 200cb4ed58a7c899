"""Who may see the page: a token opens it once, and a cookie keeps it open in that browser.

Knows nothing of what the page shows.
"""

import hmac
import secrets
import time
from dataclasses import dataclass, field

TOKEN_SECONDS = 300.0
COOKIE = "codekin"


@dataclass(slots=True)
class Doorman:
    """Tokens that wait to be used, and the cookie of those who have come in; all gone with the process."""

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
        """The cookie's value for a token that was good, which it no longer is; None otherwise."""
        return self._pass if self._tokens.pop(token, 0.0) > time.monotonic() else None

    def knows(self, cookie: str) -> bool:
        """Whether a cookie is ours."""
        return hmac.compare_digest(cookie.encode(), self._pass.encode())
