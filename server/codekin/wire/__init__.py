"""JSON over HTTP to a Unix socket or a URL: the only room that knows httpx.

Knows retries, timeouts and streamed lines; nothing of what is said.
"""

from codekin.wire.asynchronous import AsyncJsonClient
from codekin.wire.endpoint import TIMEOUT, Endpoint, endpoint
from codekin.wire.synchronous import JsonClient
from codekin.wire.withdrawing import WAITING, WithdrawableClient

__all__ = ["TIMEOUT", "WAITING", "AsyncJsonClient", "Endpoint", "JsonClient", "WithdrawableClient", "endpoint"]
