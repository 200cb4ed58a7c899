"""JSON-RPC on top of pygls: request ids, session order, cancellation and errors.

Every request gets exactly one response. Handlers are coroutines that take the params as plain JSON.

Stands in for pygls's dispatch, which does not answer what is no message, params with a key "jsonrpc", and two requests
under one id, runs requests before `initialize`, refuses capabilities newer than its types, and stops at the end of
the input with requests unanswered.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from codekin.errors import CodekinError, UsageError
from codekin.lsp.transport import INVALID_REQUEST, JsonRpcError

METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32601, -32602, -32603
NOT_INITIALIZED, REQUEST_FAILED, REQUEST_CANCELLED = -32002, -32803, -32800
RESPONSE_TIMEOUT = 30.0
"""Seconds that the client gets to answer a request of ours."""
DRAIN_TIMEOUT = 1.0
"""Seconds that requests get once the client has closed its end."""

RequestHandler = Callable[[Any], Coroutine[Any, Any, Any]]
MessageId = int | str

log = logging.getLogger(__name__)


class LspProtocol(LanguageServerProtocol):
    """One client's connection."""

    def __init__(self, server: LanguageServer, converter: Any) -> None:
        super().__init__(server, converter)
        self.stopped = asyncio.Event()
        self.exit_code = 1
        self._initialized = False
        self._queue: deque[Any | JsonRpcError] = deque()
        self._pumping = False
        self._running: dict[MessageId, asyncio.Task[Any]] = {}
        self._pending_responses: dict[MessageId | None, asyncio.Future[Any]] = {}
        self._count = 0

    def receive(self, messages: list[Any | JsonRpcError]) -> None:
        """Receives messages; they are dispatched in order, each after the first step of the one before.

        So a handler that looks at a document before its first `await` sees the text that the
        client had when it sent the request.
        """
        self._queue.extend(messages)
        if not self._pumping:
            self._pumping = True
            self._pump()

    async def drain(self) -> None:
        """Stops after the client has closed its end; earlier requests get a moment to be answered."""
        until = asyncio.get_running_loop().time() + DRAIN_TIMEOUT
        while (self._pumping or self._running) and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.stopped.set()

    def notify(self, method: str, params: Any | None = None) -> None:
        """Sends a notification; its params are plain JSON or one of the protocol's types."""
        self._send_call({"method": method}, params)

    async def request(self, method: str, params: Any) -> Any:
        """The client's answer to a request of ours, as plain JSON. Raises CodekinError or TimeoutError."""
        self._count += 1
        number = f"codekin-{self._count}"
        self._pending_responses[number] = asyncio.get_running_loop().create_future()
        try:
            self._send_call({"id": number, "method": method}, params)
            return await asyncio.wait_for(self._pending_responses[number], RESPONSE_TIMEOUT)
        finally:
            del self._pending_responses[number]

    def _pump(self) -> None:
        if not self._queue:
            self._pumping = False
            return
        message = self._queue.popleft()
        try:
            self._dispatch(message)
        except Exception:  # the outermost loop: nothing a client sends may end the session
            log.exception("A message could not be handled")
        asyncio.get_running_loop().call_soon(self._pump)

    def _dispatch(self, message: Any | JsonRpcError) -> None:
        if isinstance(message, JsonRpcError):
            self._send_error(None, message.code, message.message)
        elif not isinstance(message, dict):
            self._send_error(None, INVALID_REQUEST, "A message must be a JSON object.")
        elif isinstance(message.get("method"), str):
            self._dispatch_call(message)
        elif "method" not in message and "id" in message and ("result" in message or "error" in message):
            self._settle_response(message)
        else:
            self._send_error(_id_of(message), INVALID_REQUEST, "A message needs a method, or a result for its id.")

    def _dispatch_call(self, message: dict[str, Any]) -> None:
        method, params = message["method"], message.get("params")
        if "id" not in message:
            self._dispatch_notification(method, params)
            return
        number = _id_of(message)
        if number is None:
            self._send_error(None, INVALID_REQUEST, "A request's id must be a string or a whole number.")
        elif (fault := self._reason_to_refuse(number, message)) is not None:
            self._send_error(number, fault.code, fault.message)
        elif (handler := self._handler(method)) is None:
            self._send_error(number, METHOD_NOT_FOUND, f"This server has no method {method!r}.")
        else:
            self._initialized = True
            task = asyncio.ensure_future(handler(params))
            self._running[number] = task
            task.add_done_callback(partial(self._send_result, number))

    def _reason_to_refuse(self, number: MessageId, message: dict[str, Any]) -> JsonRpcError | None:
        """Why a request may not run now."""
        if message.get("jsonrpc") != "2.0":
            return JsonRpcError(INVALID_REQUEST, 'A request needs "jsonrpc": "2.0".')
        if number in self._running:
            return JsonRpcError(INVALID_REQUEST, f"The request {number!r} is still being answered: use another id.")
        if self._shutdown:
            return JsonRpcError(INVALID_REQUEST, "The server has been shut down.")
        if self._initialized == (message["method"] == lsp.INITIALIZE):
            again = "The session is initialized already."
            return (
                JsonRpcError(INVALID_REQUEST, again)
                if self._initialized
                else JsonRpcError(NOT_INITIALIZED, "Initialize first.")
            )
        return None

    def _dispatch_notification(self, method: str, params: Any) -> None:
        if method == lsp.EXIT:
            self.exit_code = 0 if self._shutdown else 1
            self.stopped.set()
        elif method == lsp.CANCEL_REQUEST:
            self._cancel(params)
        elif self._initialized and not self._shutdown and (handler := self.fm.features.get(method)) is not None:
            task = asyncio.ensure_future(handler(params))
            self._running[f"\0{id(task)}"] = task  # the loop alone would not keep it alive
            task.add_done_callback(self._notification_done)

    def _handler(self, method: str) -> RequestHandler | None:
        if method == lsp.INITIALIZE:
            return self._initialize
        if method == lsp.SHUTDOWN:
            return self._shut_down
        return self.fm.features.get(method)

    def _cancel(self, params: Any) -> None:
        number = params.get("id") if isinstance(params, dict) else None
        if isinstance(number, int | str) and (task := self._running.get(number)) is not None:
            task.cancel()

    def _send_result(self, number: MessageId, task: asyncio.Task[Any]) -> None:
        self._running.pop(number, None)
        try:
            error = _error_of(task)
            result = None if error else self._converter.unstructure(task.result())
        except Exception as failure:  # a result that is no JSON still needs its answer
            log.exception("A result could not be sent")
            result, error = None, (INTERNAL_ERROR, f"The answer could not be written: {failure}.")
        if error is not None:
            self._send_error(number, *error)
        else:
            self._send_data({"jsonrpc": "2.0", "id": number, "result": result})

    def _notification_done(self, task: asyncio.Task[Any]) -> None:
        self._running.pop(f"\0{id(task)}", None)
        _error_of(task)

    def _send_error(self, number: MessageId | None, code: int, message: str) -> None:
        self._send_data({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}})

    def _send_call(self, call: dict[str, Any], params: Any) -> None:
        given = {} if params is None else {"params": self._converter.unstructure(params)}
        self._send_data({"jsonrpc": "2.0", **call, **given})

    def _settle_response(self, message: dict[str, Any]) -> None:
        future = self._pending_responses.get(_id_of(message))
        if future is None or future.done():
            return
        if (error := message.get("error")) is not None:
            future.set_exception(CodekinError(f"The editor refused: {_message_of(error)}"))
        else:
            future.set_result(message.get("result"))

    async def _initialize(self, params: Any) -> lsp.InitializeResult:
        given = params if isinstance(params, dict) else {}
        for begin in cast("LspServer", self._server).initialize_hooks:
            begin(given)
        typed = self._converter.structure(_pygls_params(given), lsp.InitializeParams)
        steps = super().lsp_initialize(typed)
        try:
            next(steps)
        except StopIteration as done:
            return cast("lsp.InitializeResult", done.value)
        raise RuntimeError("initialize has a handler of its own")

    async def _shut_down(self, _params: Any) -> None:
        self._shutdown = True
        for task in tuple(self._running.values()):
            if task is not asyncio.current_task():
                task.cancel()

    @lsp_method(lsp.WORKSPACE_EXECUTE_COMMAND)
    def lsp_workspace__execute_command(self, *_arguments: Any) -> Any:
        """Never called; registered so that the capability is announced."""


class LspServer(LanguageServer):
    """pygls's server with our protocol; `initialize_hooks` get the params of initialize before it is answered."""

    protocol: LspProtocol

    def __init__(self, name: str, version: str) -> None:
        self.initialize_hooks: list[Callable[[dict[str, Any]], None]] = []
        super().__init__(name, version, protocol_cls=LspProtocol)

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Errors go to the log; the user hears of them through the status alone."""
        log.error("%s: %s", source, error)


def _error_of(task: asyncio.Task[Any]) -> tuple[int, str] | None:
    """Code and sentence of what a handler raised; the traceback of what should not happen is logged."""
    if task.cancelled():
        return REQUEST_CANCELLED, "The request was cancelled."
    match task.exception():
        case None:
            return None
        case UsageError() as error:
            return INVALID_PARAMS, str(error)
        case CodekinError() as error:
            return REQUEST_FAILED, str(error)
        case error:
            log.error("A handler failed", exc_info=error)
            return INTERNAL_ERROR, f"Codekin met an error of its own: {type(error).__name__}: {error}"


def _id_of(message: dict[str, Any]) -> MessageId | None:
    number = message.get("id")
    return number if isinstance(number, int | str) and not isinstance(number, bool) else None


def _message_of(error: Any) -> str:
    return str(error.get("message")) if isinstance(error, dict) else str(error)


def _pygls_params(params: dict[str, Any]) -> dict[str, Any]:
    """The params with only what the capabilities depend on, so that a client's novelties do no harm."""
    capabilities = params.get("capabilities")
    general = capabilities.get("general") if isinstance(capabilities, dict) else None
    encodings = general.get("positionEncodings") if isinstance(general, dict) else None
    known = [name for name in encodings if isinstance(name, str)] if isinstance(encodings, list) else None
    return {"processId": None, "rootUri": None, "capabilities": {"general": {"positionEncodings": known}}}
