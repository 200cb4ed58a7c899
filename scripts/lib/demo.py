"""The demonstration: runs the installed commands on a folder, on questions chosen from its own code."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from codekin import paths
from codekin.daemon.client import DaemonClient
from codekin.storage import ChunkIndex
from codekin.types import Chunk

CODEKIN = Path(sys.executable).with_name("codekin")
FUNCTIONS = frozenset({"function", "method", "constructor"})
TRIED = 60
PATIENCE_SECONDS = 20
COPY = 0.97
"""A place that scores higher is a copy: less to show than kin."""

EDITORS = """
To connect an editor:
  VS Code   (cd editors/vscode && npm install && npm run package)
            code --install-extension editors/vscode/codekin-0.1.0.vsix
            and set "codekin.server.path" to {codekin}
  Neovim    vim.opt.runtimepath:append("{plugin}")
            vim.lsp.config("codekin", {{ cmd = {{ "{codekin}", "lsp" }} }})
            vim.lsp.enable("codekin")
  others    start `{codekin} lsp`; docs/editors.md has Emacs and Helix
"""


def main(root: Path) -> int:
    run("index", str(root))
    with DaemonClient.connect() as client:
        client.post("/workspaces/open", {"root": str(root)})
        chunks = functions(root)
        if not chunks:
            print(f"There is no code that Codekin reads in {root}: `codekin status --files` says why.", file=sys.stderr)
            return 1
        show_similar(client, root, chunks)
        say("A search by words")
        run("search", "retry with backoff", "--root", str(root), "--limit", "4")
        show_edit(client, root)
    print(EDITORS.format(codekin=CODEKIN, plugin=Path("editors/nvim").resolve()))
    return 0


def show_similar(client: DaemonClient, root: Path, chunks: Sequence[Chunk]) -> None:
    """The function with the best kin in its own language, and the one with the best in another."""
    languages = {chunk.language for chunk in chunks}
    same = best(client, root, chunks, across=False)
    say("Code like this, within a language")
    run("similar", place(root, same), "--language", same.language, "--limit", "4")
    if len(languages) > 1:
        other = best(client, root, chunks, across=True)
        say("Code like this, in another language")
        run("similar", place(root, other), "--limit", "4", *option("--language", sorted(languages - {other.language})))


def show_edit(client: DaemonClient, root: Path) -> None:
    """A new function that is not even saved is found at once; the folder itself stays as it is."""
    path = "codekin_demo_unsaved.ex"
    body = "    Enum.map(herd, fn zebra -> {zebra, speed * 2} end)"
    text = f"defmodule Demo.Zebra do\n  def gallop(herd, speed) do\n{body}\n  end\nend\n"
    say("What changes after an edit: a new, unsaved function")
    run("search", "zebra herd gallops", "--root", str(root), "--limit", "1")
    client.post("/buffers", {"root": str(root), "path": path, "text": text, "version": 1})
    wait_for(client, root, "zebra herd gallops", path)
    run("search", "zebra herd gallops", "--root", str(root), "--limit", "1")
    client.post("/buffers", {"root": str(root), "path": path, "text": None, "version": 2})


def functions(root: Path) -> list[Chunk]:
    """The functions of a middling size in the index, spread over the files."""
    with ChunkIndex.open(paths.index_dir(paths.data_dir(None), root)) as index:
        found = [chunk for path in index.files() for chunk in index.chunks(path) if is_telling(chunk)]
    return found[:: max(1, len(found) // TRIED)]


def is_telling(chunk: Chunk) -> bool:
    return chunk.kind in FUNCTIONS and not chunk.part and 6 <= chunk.end_line - chunk.start_line <= 40


def best(client: DaemonClient, root: Path, chunks: Sequence[Chunk], *, across: bool) -> Chunk:
    """The fragment whose nearest kin scores highest without being a copy."""
    languages = sorted({chunk.language for chunk in chunks})

    def score(chunk: Chunk) -> float:
        wanted = [language for language in languages if (language != chunk.language) == across]
        question = {"root": str(root), "path": chunk.path, "line": chunk.start_line, "limit": 1}
        hits = client.post("/similar", {**question, "filters": {"languages": wanted}})["hits"]
        return hits[0]["score"] if hits and hits[0]["score"] < COPY else 0.0

    return max(chunks, key=score)


def wait_for(client: DaemonClient, root: Path, text: str, path: str) -> None:
    """Until a place in the file is found, or so long that something must be wrong."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        hits = client.post("/search", {"root": str(root), "text": text, "limit": 3})["hits"]
        if any(hit["path"] == path for hit in hits):
            return
        time.sleep(0.05)


def place(root: Path, chunk: Chunk) -> str:
    return f"{root / chunk.path}:{chunk.start_line}"


def option(name: str, values: Sequence[str]) -> list[str]:
    return [part for value in values for part in (name, value)]


def say(title: str) -> None:
    print(f"\n── {title} " + "─" * max(0, 90 - len(title)), flush=True)


def run(*arguments: str) -> None:
    """Shows a command as the user would type it, and runs it."""
    print("$ codekin " + " ".join(json.dumps(part) if " " in part else part for part in arguments), flush=True)
    subprocess.run([CODEKIN, *arguments], check=False)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
