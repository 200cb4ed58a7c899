"""JSON over HTTP to a Unix socket or a URL, with retries, timeouts and streams; only this package imports httpx."""

import sys

# httpx imports its own command line where rich and click are installed: two thirds of its import time, and 7 MB in
# every window, daemon and command. It does without where that import fails.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

from codekin.http.client import (  # noqa: E402 - after the line above
    TIMEOUT,
    AsyncJsonClient,
    Endpoint,
    JsonClient,
    parse_endpoint,
)

__all__ = ["TIMEOUT", "AsyncJsonClient", "Endpoint", "JsonClient", "parse_endpoint"]
