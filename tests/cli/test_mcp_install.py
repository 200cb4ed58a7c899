"""`codekin mcp install`: a client's own file gets one entry, keeps all else, and loses the entry again."""

import json
import os
import tomllib

import pytest

from codekin.util.jsonc import read_jsonc

FILES = {
    "claude-code": ".claude.json",
    "codex": ".codex/config.toml",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "opencode": ".config/opencode/opencode.json",
    "zed": ".config/zed/settings.json",
}
WITH_COMMENTS = """{
  // the editor's own
  "theme": "One Dark", // dark
  "%s": {
    /* another server */
    "files": { "command": "files-server", "args": ["a,b", "// c"] } // keep
  },
}
"""
CODEX = """# mine
model = "o"

[mcp_servers.files]
command = "files-server" # keep

[profiles.fast]
model = "m"
"""
KEYS = {"claude-code": "mcpServers", "cursor": "mcpServers", "vscode": "servers", "opencode": "mcp"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    return tmp_path


def read(client, file):
    return tomllib.loads(file.read_text()) if client == "codex" else read_jsonc(file.read_text())


@pytest.mark.parametrize("client", FILES)
def test_an_entry_is_added_and_taken_out(codekin, home, client):
    """What the user wrote stands there unchanged afterwards, to the byte."""
    file = home / FILES[client]
    file.parent.mkdir(parents=True, exist_ok=True)
    before = CODEX if client == "codex" else WITH_COMMENTS % KEYS.get(client, "context_servers")
    file.write_text(before)
    file.chmod(0o640)
    done = codekin("mcp", "install", client, "--yes")
    assert (done.status, done.out) == (0, "")
    (servers,) = (value for name, value in read(client, file).items() if isinstance(value, dict) and "codekin" in value)
    words = servers["codekin"]["command"]
    words = words if isinstance(words, list) else [words, *servers["codekin"]["args"]]
    assert words[0].endswith("/codekin")
    assert words[1:] == ["mcp", "--index", "--data-dir", os.environ["CODEKIN_DATA_DIR"]]
    kept = file.read_text().replace(",", "")
    assert all(line in kept for line in before.replace(",", "").split("\n"))
    assert file.stat().st_mode & 0o777 == 0o640
    again = codekin("mcp", "install", client, "--yes")
    assert again.err == f"{file} is as it should be.\n"
    assert codekin("mcp", "install", client, "--yes", "--undo").status == 0
    assert file.read_text() == before


@pytest.mark.parametrize("client", FILES)
def test_a_client_without_a_file_gets_one(codekin, home, client):
    """The file is the user's alone, and is gone when the entry is taken out."""
    assert codekin("mcp", "install", client, "--yes").status == 0
    assert (home / FILES[client]).stat().st_mode & 0o777 == 0o600
    assert codekin("mcp", "install", client, "--yes", "--undo").status == 0
    assert not (home / FILES[client]).exists()


def test_nothing_is_changed_without_an_answer(codekin, home):
    """Without a terminal the change is shown and not made; --print shows the entry alone."""
    done = codekin("mcp", "install", "cursor")
    assert done.status == 2
    assert '+    "codekin": {' in done.out
    assert done.err == "There is no terminal to confirm the change: add --yes to change the file.\n"
    assert "codekin" in json.loads(codekin("mcp", "install", "cursor", "--print").out)["mcpServers"]
    assert not (home / ".cursor").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"mcpServers": []}', "\0"])
def test_a_file_that_cannot_be_read_is_left_alone(codekin, home, text):
    """One sentence says what to do, and the file stays as it is."""
    (home / ".claude.json").write_text(text)
    done = codekin("mcp", "install", "claude-code", "--yes")
    assert done.status == 2
    assert done.err.startswith(f"{home}/.claude.json cannot be changed (")
    assert done.err.endswith("): write the entry by hand, --print shows it.\n")
    assert (home / ".claude.json").read_text() == text


def test_a_project_has_a_file_of_its_own(codekin, home):
    """With --project the entry is for that project alone; a link stays a link."""
    (home / "real.json").write_text("{}\n")
    (home / ".mcp.json").symlink_to(home / "real.json")
    assert codekin("mcp", "install", "claude-code", "--yes", "--project", home).status == 0
    assert (home / ".mcp.json").is_symlink()
    assert read_jsonc((home / "real.json").read_text())["mcpServers"]["codekin"]["type"] == "stdio"


def test_an_unknown_client_is_one_sentence(codekin):
    """It names those that there are."""
    done = codekin("mcp", "install", "emacs")
    assert done.err == "There is no client emacs; there are claude-code, codex, cursor, vscode, opencode, zed.\n"


def test_agents_are_instructed_when_to_use_which_tool(codekin):
    """The text for AGENTS.md names the tools."""
    out = codekin("mcp", "instructions").out
    assert all(f"`{name}`" in out for name in ("search", "already_exists", "outline", "read_chunk", "similar"))
