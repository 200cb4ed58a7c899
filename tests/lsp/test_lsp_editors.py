"""The whole way, from an editor's pipe to the daemon and its index and back, as three editors go it."""

import json
import os
import signal
import subprocess
import time

import psutil
import pytest
from client_profiles import PROFILES

from codekin.daemon.process.startup import listener_pid

RETRY = """defmodule Shop.Retry do
  # 汉字 🙂 before the function
  def with_backoff(fun, attempts, delay) do
    case fun.() do
      {:ok, value} -> {:ok, value}
      {:error, _reason} when attempts > 1 ->
        Process.sleep(delay)
        with_backoff(fun, attempts - 1, delay * 2)
      {:error, reason} -> {:error, reason}
    end
  end # 🙂
end
"""
DUPLICATE = RETRY.replace("Shop.Retry", "Shop.Http").replace("with_backoff", "again").replace("delay", "wait")
OTHER = 'defmodule Shop.Headers do\n  def parse(lines), do: Enum.map(lines, &String.split(&1, ":"))\nend\n'
END = {"vscode": 10, "neovim": 12, "emacs": 9}
"""Where `  end # 🙂` ends, in each editor's units."""

CODEC = {"vscode": "utf-16-le", "neovim": "utf-8", "emacs": "utf-32-le"}
WIDTH = {"vscode": 2, "neovim": 1, "emacs": 4}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "my shop ü"
    (root / "lib").mkdir(parents=True)
    (root / "lib" / "retry.ex").write_text(RETRY)
    (root / "lib" / "http.ex").write_text(DUPLICATE)
    (root / "lib" / "headers.ex").write_text(OTHER)
    return root


def wait_until_ready(editor, after: int = 0) -> None:
    def is_ready(message: dict) -> bool:
        params = message.get("params") or {}
        return message.get("method") == "codekin/status" and params["kind"] == "Normal" and not params["busy"]

    editor.until(is_ready, timeout=120, after=after)


def ask_until_ready(editor) -> None:
    """As a client does that is not sent the status, since it would complain of it."""
    until = time.monotonic() + 120
    while (status := editor.ask("codekin/status"))["kind"] != "Normal" or status["busy"]:
        assert time.monotonic() < until, status
        time.sleep(0.2)
    assert not [message for message in editor.messages if message.get("method") == "codekin/status"]


def check_ghost_text(editor, uri: str, name: str) -> None:
    """The repository alone completes a line behind an emoji, in the editor's own units."""
    before = RETRY[: RETRY.index("Process.sleep")] + 'log("🙂"); Process.'
    item = {"uri": uri, "version": 2}
    change = {"text": before + "\n      end\n  end\nend\n"}
    editor.send(method="textDocument/didChange", params={"textDocument": item, "contentChanges": [change]})
    line = before.count("\n")
    column = len(before.splitlines()[-1].encode(CODEC[name])) // WIDTH[name]
    request = {
        "textDocument": {"uri": uri},
        "position": {"line": line, "character": column},
        "context": {"triggerKind": 1},
    }

    def suggestions() -> list[dict]:
        return editor.ask("textDocument/inlineCompletion", request)["items"]

    items = next(filter(None, (suggestions() for _ in range(50) if not time.sleep(0.2))))
    assert items[0]["insertText"].strip()
    assert items[0]["range"]["end"] == {"line": line, "character": column}


@pytest.mark.parametrize("name", list(PROFILES))
def test_from_the_pipe_to_the_index_and_back(start_editor, project, name):
    """Each editor finds the duplicate in its own units, also of unsaved code, within 80 MB, and ends in order."""
    editor = start_editor()
    editor.replies["workspace/configuration"] = lambda params: [
        {"similar": {"lens_min_score": 0.0}} for _ in params["items"]
    ]
    capabilities = editor.begin(project, **PROFILES[name])
    assert capabilities["positionEncoding"] == PROFILES[name]["encodings"][0]
    ask_until_ready(editor) if name == "emacs" else wait_until_ready(editor)
    uri = (project / "lib" / "headers.ex").as_uri()
    item = {"uri": uri, "languageId": "elixir", "version": 1, "text": RETRY.replace("with_backoff", "unsaved")}
    editor.send(method="textDocument/didOpen", params={"textDocument": item})
    request = {"textDocument": {"uri": uri}, "position": {"line": 3, "character": 5}, "limit": 3}
    response = editor.ask("codekin/similar", request)
    assert response["query"]["name"] == "Shop.Retry.unsaved/3"
    duplicates = {hit["path"]: hit for hit in response["hits"]}
    duplicate = duplicates["lib/http.ex"]
    assert duplicate["uri"] == (project / "lib" / "http.ex").as_uri()
    assert (duplicate["start_line"], duplicate["range"]["start"]["line"]) == (2, 2)
    assert duplicate["range"]["end"] == {"line": 10, "character": END[name]}
    assert editor.ask("codekin/search", {"text": "retry with backoff"})["hits"]
    assert editor.ask("workspace/symbol", {"query": "retry after a delay"})
    lens = editor.ask("textDocument/codeLens", {"textDocument": {"uri": uri}})[0]
    assert editor.ask("codeLens/resolve", lens)["command"]["title"].endswith("similar")
    check_ghost_text(editor, uri, name)
    assert psutil.Process(editor.process.pid).memory_info().rss < 80_000_000
    editor.ask("shutdown")
    editor.send(method="exit")
    assert editor.process.wait(10) == 0
    assert editor.process.stderr.read() == b""


def test_a_killed_daemon_is_reported_once_and_comes_back_by_itself(start_editor, project, tmp_path):
    """The window neither hangs nor dies, and its unsaved text is known to the new daemon."""
    editor = start_editor()
    editor.begin(project, **PROFILES["neovim"])
    wait_until_ready(editor)
    before, killed = len(editor.messages), listener_pid(tmp_path / "data")
    os.kill(killed, signal.SIGKILL)
    wait_until_ready(editor, after=before)
    uri = (project / "lib" / "retry.ex").as_uri()
    request = {"textDocument": {"uri": uri}, "position": {"line": 3, "character": 5}}
    response = editor.ask("codekin/similar", request)
    assert [hit["path"] for hit in response["hits"][:1]] == ["lib/http.ex"], response
    assert listener_pid(tmp_path / "data") != killed
    reported = [m["params"]["kind"] for m in editor.messages[before:] if m.get("method") == "codekin/status"]
    assert reported.count("Error") == 1


def test_windows_killed_leave_nothing_behind(start_editor, project, tmp_path):
    """Editors killed at once share one daemon, and their servers end with them."""
    editors = [start_editor() for _ in range(3)]
    for editor in editors:
        editor.begin(project)
    for editor in editors:
        wait_until_ready(editor)
    children = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout
    daemons = [line for line in children.splitlines() if "codekin.daemon" in line and str(tmp_path) in line]
    assert len(daemons) == 1, json.dumps(daemons)
    for editor in editors:
        editor.process.stdin.close()
    for editor in editors:
        assert editor.process.wait(10) == 1
