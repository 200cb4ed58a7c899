"""Helix's configuration as it is printed starts a server that serves what Helix asks for."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from codekin.lsp.transport import FrameReader
from fakes import frame_message

CONFIG = Path(__file__).parents[3] / "editors" / "helix" / "languages.toml"
HELIX = {
    "processId": None,
    "clientInfo": {"name": "helix", "version": "25.07"},
    "rootPath": "/",
    "capabilities": {
        "general": {"positionEncodings": ["utf-8", "utf-32", "utf-16"]},
        "textDocument": {"completion": {"completionItem": {"snippetSupport": True}}, "codeAction": {}},
        "window": {"workDoneProgress": True},
    },
}


def test_the_configuration_starts_a_server(tmp_path):
    """The documented configuration starts a server with the features that Helix uses."""
    config = tomllib.loads(CONFIG.read_text())
    server = config["language-server"]["codekin"]
    assert all("codekin" in language["language-servers"] for language in config["language"])
    messages = [{"id": 1, "method": "initialize", "params": HELIX}, {"id": 2, "method": "shutdown"}, {"method": "exit"}]
    written = b"".join(frame_message(json.dumps({"jsonrpc": "2.0", **message}).encode()) for message in messages)
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent), "CODEKIN_DATA_DIR": str(tmp_path)}
    command = [server["command"], *server["args"]]
    done = subprocess.run(command, input=written, capture_output=True, env=environment, check=True, timeout=60)
    initialized, shut_down = FrameReader().feed(done.stdout)
    capabilities = initialized["result"]["capabilities"]
    assert capabilities["positionEncoding"] == "utf-8"
    assert {"completionProvider", "codeActionProvider", "workspaceSymbolProvider"} <= set(capabilities)
    assert shut_down["result"] is None
