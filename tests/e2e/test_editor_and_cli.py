"""One user, one daemon: what a window and a terminal see of the same repository, and what a hostile one may not do."""

import json
import socket
import threading

from daemons import daemons_of, eventually, indexers_of, kill

FRESH = "defmodule Storehouse.Zebra do\n  def gallop(herd, speed) do\n    Enum.map(herd, &{&1, speed})\n  end\nend\n"


def names(done) -> list[str]:
    return [hit["name"] for hit in json.loads(done.stdout)["hits"]] if done.stdout else []


def open_document(window, uri: str, text: str) -> None:
    document = {"uri": uri, "languageId": "elixir", "version": 1, "text": text}
    window.send({"method": "textDocument/didOpen", "params": {"textDocument": document}})


def test_the_terminal_finds_what_a_window_has_not_saved(window, codekin, root):
    """The terminal finds unsaved text, and no longer once the document is closed."""
    uri = (root / "lib" / "storehouse" / "zebra.ex").as_uri()

    def found() -> bool:
        return "Storehouse.Zebra.gallop/2" in names(
            codekin("search", "zebra herd gallop", "--root", root, "--json", "--no-wait")
        )

    open_document(window, uri, FRESH)
    eventually(found)
    window.send({"method": "textDocument/didClose", "params": {"textDocument": {"uri": uri}}})
    eventually(lambda: not found())


def test_window_and_terminal_give_one_answer(window, codekin, root, data):
    """Editor and terminal rank alike and share one daemon and one indexer."""
    path = root / "lib" / "storehouse" / "retry.ex"
    place = {"textDocument": {"uri": path.as_uri()}, "position": {"line": 11, "character": 0}, "limit": 6}
    shown = window.ask("codekin/similar", place)["hits"]
    printed = json.loads(codekin("similar", f"{path}:12", "--limit", 6, "--json").stdout)["hits"]
    assert [(hit["path"], hit["start_line"], hit["score"]) for hit in shown] == [
        (hit["path"], hit["start_line"], hit["score"]) for hit in printed
    ]
    assert len(shown) == 6
    clear = window.ask("codekin/similar", {**place, "hideNoise": True})["hits"]
    assert clear == [hit for hit in shown if hit in clear]
    assert 0 < len(clear) < 6
    assert (len(daemons_of(data)), len(indexers_of(data))) == (1, 1)


def test_a_window_outlives_its_daemon(window, data, root):
    """After a crash of the daemon the window answers as before."""
    question = {"text": "evict the least recently used entry", "limit": 5}
    before = [hit["name"] for hit in window.ask("codekin/search", question)["hits"]]
    (daemon,) = daemons_of(data)
    kill(daemon)
    eventually(lambda: daemons_of(data) not in ([], [daemon]))
    window.until_ready()

    def after() -> list[str]:
        try:
            return [hit["name"] for hit in window.ask("codekin/search", question)["hits"]]
        except RuntimeError:
            return []  # it is being started

    eventually(lambda: after() == before)


def test_a_repository_reaches_nothing_outside(codekin, root):
    """A cloned repository calls no server, loads no file of its choice and reads nothing outside itself."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        called: list[object] = []
        threading.Thread(target=lambda: called.append(trap.accept()), daemon=True).start()
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/v1"
        secret = root.parent / "outside.ex"
        secret.write_text("defmodule Outside do\n  def quagga_secret(x), do: x + 1\nend\n")
        (root / "lib" / "link.ex").symlink_to(secret)
        chosen = f'embedder = "{root}/evil"\nremote = {{ url = "{url}", model = "m" }}'
        (root / ".codekin.toml").write_text(f'[models]\n{chosen}\n[index]\nlanguages = ["elixir"]\n')
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), url)
        assert codekin("index", root, "--json", **proxies).returncode == 0
        hits = json.loads(codekin("search", "quagga secret", "--root", root, "--json", **proxies).stdout)["hits"]
        assert not any("quagga" in hit["name"] for hit in hits)
        hits = json.loads(codekin("search", "retry with backoff", "--root", root, "--json", **proxies).stdout)["hits"]
        assert {hit["language"] for hit in hits} == {"elixir"}
        report = codekin("doctor", root, "--json", **proxies).stdout
        assert "models" in report
        assert called == []
