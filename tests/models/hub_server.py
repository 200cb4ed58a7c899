"""A small stand-in for the hub on the loopback: repositories, revisions, files, and how they fail."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "a" * 40
LARGE_FILES = (".safetensors", ".gguf")


@dataclass
class Hub:
    """`files` of one repository; `fail` is a status for everything, `damage` and `stop_after` touch the weights."""

    files: dict[str, bytes] = field(default_factory=dict)
    repository: str = "owner/model"
    fail: int = 0
    damage: bool = False
    stop_after: int = 0
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    url: str = ""


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            answer(self, hub, body=False)

        def do_GET(self) -> None:
            answer(self, hub, body=True)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def answer(request: Any, hub: Hub, body: bool) -> None:
    path = request.path.split("?")[0]
    hub.requests.append(f"{request.command} {path}")
    if hub.fail:
        code = {403: "GatedRepo", 404: "RepoNotFound"}.get(hub.fail, "")
        return send(request, hub.fail, b"{}", {"X-Error-Code": code, "X-Error-Message": "no"}, body)
    if path.startswith("/api/models/"):
        return send(request, 200, json.dumps(listing(hub, path)).encode(), {"Content-Type": "application/json"}, body)
    name = path.split("/resolve/")[-1].partition("/")[2]
    if name not in hub.files:
        return send(request, 404, b"", {"X-Error-Code": "EntryNotFound"}, body)
    return send_file(request, hub, name, body)


def listing(hub: Hub, path: str) -> Any:
    rows = [row(name, content) for name, content in hub.files.items()]
    if "/tree/" in path:
        return rows
    return {"id": hub.repository, "modelId": hub.repository, "sha": COMMIT, "siblings": rows, "tags": []}


def row(name: str, content: bytes) -> dict[str, Any]:
    size, digest = len(content), sha1(content).hexdigest()
    return {"type": "file", "path": name, "rfilename": name, "size": size, "oid": digest, **lfs(name, content)}


def lfs(name: str, content: bytes) -> dict[str, Any]:
    if not name.endswith(LARGE_FILES):
        return {}
    digest = sha256(content).hexdigest()
    return {"lfs": {"sha256": digest, "oid": digest, "size": len(content), "pointerSize": 100}}


def send_file(request: Any, hub: Hub, name: str, body: bool) -> None:
    content = hub.files[name]
    large = name.endswith(LARGE_FILES)
    etag = sha256(content).hexdigest() if large else sha1(content).hexdigest()
    headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
    if large:
        headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        if hub.damage:
            content = content[:-1] + bytes([content[-1] ^ 1])
    wanted = request.headers.get("Range")
    if body and wanted and large:
        hub.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").split("-")[0])
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return send(request, 206, content[start:], headers, body)
    if body and large and hub.stop_after:
        request.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(key, value)
        request.end_headers()
        request.wfile.write(content[: hub.stop_after])
        request.wfile.flush()
        request.close_connection = True
        request.connection.shutdown(socket.SHUT_RDWR)  # closing alone leaves it open for the handler's own files
        return None
    return send(request, 200, content, headers, body)


def send(request: Any, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
    request.send_response(status)
    for key, value in {**headers, "Content-Length": str(len(content))}.items():
        request.send_header(key, value)
    request.end_headers()
    if body:
        request.wfile.write(content)
