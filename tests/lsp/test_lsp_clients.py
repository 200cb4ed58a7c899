"""Through pytest-lsp, as today's editors describe themselves: the cursor is behind an emoji and Chinese characters."""

import os
import signal
import sys

import pytest
from lsprotocol import types as lsp
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities, make_test_lsp_client

from codekin.daemon.process.startup import listener_pid
from daemons import eventually_async

BEFORE = '  汉字 = "🙂"; '
"""What stands before the cursor in its line."""

RETRY = f"""defmodule Shop.Retry do
{BEFORE}def with_backoff(fun, attempts, delay) do
    case fun.() do
      {{:ok, value}} -> {{:ok, value}}
      {{:error, _reason}} when attempts > 1 ->
        Process.sleep(delay)
        with_backoff(fun, attempts - 1, delay * 2)
      {{:error, reason}} -> {{:error, reason}}
    end
  end # 🙂
end
"""
DUPLICATE = RETRY.replace("Shop.Retry", "Shop.Http").replace("with_backoff", "again").replace("delay", "wait")
TYPED = f"defmodule Shop.New do\n{BEFORE}def f(fun), do: (case fun.() do {{:ok, value}} -> "
UNITS = {"utf-8": len(BEFORE.encode()), "utf-16": len(BEFORE.encode("utf-16-le")) // 2, "utf-32": len(BEFORE)}
END = {"utf-8": 12, "utf-16": 10, "utf-32": 9}
"""Where `  end # 🙂` ends."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def vscode() -> lsp.ClientCapabilities:
    """VS Code 1.139, from the profile of an older one: since then it has ghost text, and says how it counts."""
    found = client_capabilities("visual_studio_code@1.65.2")
    found.text_document.inline_completion = lsp.InlineCompletionClientCapabilities(dynamic_registration=True)
    found.general.position_encodings = [lsp.PositionEncodingKind.Utf16]
    return found


def neovim() -> lsp.ClientCapabilities:
    """Neovim 0.11 with the plugin."""
    found = client_capabilities("neovim@0.11.0")
    found.text_document.inline_completion = lsp.InlineCompletionClientCapabilities(dynamic_registration=False)
    return found


def emacs() -> lsp.ClientCapabilities:
    """Eglot of Emacs 30, which counts code points and has no ghost text."""
    found = client_capabilities("emacs@29.1")
    found.general.position_encodings = [lsp.PositionEncodingKind.Utf32, lsp.PositionEncodingKind.Utf8]
    return found


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "my shop ü"
    (root / "lib").mkdir(parents=True)
    for name, text in (("retry", RETRY), ("http", DUPLICATE), ("new", "")):
        (root / "lib" / f"{name}.ex").write_text(text)
    return root


def make_client() -> LanguageClient:
    client = make_test_lsp_client()
    client.status = []

    @client.feature("codekin/status")
    def reported(status) -> None:
        client.status.append(status)

    client.feature(lsp.WORKSPACE_CODE_LENS_REFRESH)(lambda _params: None)
    client.set_configuration({"codekin": {"similar": {"lens_min_score": 0.0}}})
    return client


@pytest.fixture
async def client(request, project, tmp_path):
    """A client whose server has indexed the project, with a document that is not saved."""
    command = [sys.executable, "-P", "-m", "codekin", "lsp", "--data-dir", str(tmp_path / "data")]
    own = {"CODEKIN_CONFIG_DIR": str(tmp_path / "config"), "CODEKIN_BUILD": "0.1.0+0+test"}
    config = ClientServerConfig(command, make_client, {**os.environ, **own})
    client = await config.start()
    folder = lsp.WorkspaceFolder(uri=project.as_uri(), name=project.name)
    params = lsp.InitializeParams(capabilities=request.param(), workspace_folders=[folder])
    client.answered = (await client.initialize_session(params)).capabilities
    await eventually_async(lambda: client.status and client.status[-1].kind == "Normal" and not client.status[-1].busy)
    yield client
    await client.shutdown_session()
    await client.stop()
    if (pid := listener_pid(tmp_path / "data")) is not None:
        os.kill(pid, signal.SIGTERM)


def opened(client, project, name: str, text: str) -> lsp.TextDocumentIdentifier:
    item = lsp.TextDocumentItem(uri=(project / "lib" / name).as_uri(), language_id="elixir", version=1, text=text)
    client.text_document_did_open(lsp.DidOpenTextDocumentParams(text_document=item))
    return lsp.TextDocumentIdentifier(uri=item.uri)


@pytest.mark.parametrize(
    ("client", "encoding"), [(vscode, "utf-16"), (neovim, "utf-8"), (emacs, "utf-32")], indirect=["client"]
)
async def test_similar_lens_and_symbols(client, project, encoding):
    """Ranges of similar functions are in the editor's encoding."""
    assert client.answered.position_encoding == encoding
    document = opened(client, project, "retry.ex", RETRY)
    request = {"textDocument": {"uri": document.uri}, "position": {"line": 1, "character": UNITS[encoding] + 4}}
    response = await client.protocol.send_request_async("codekin/similar", request)
    assert response.query.name == "Shop.Retry.with_backoff/3"
    duplicate = next(hit for hit in response.hits if hit.path == "lib/http.ex" and hit.name.endswith("again/3"))
    assert (duplicate.range.end.line, duplicate.range.end.character) == (9, END[encoding])
    lenses = await client.text_document_code_lens_async(lsp.CodeLensParams(document))
    titles = [(await client.code_lens_resolve_async(lens)).command.title for lens in lenses]
    assert any(title.endswith(" similar") and title[0] != "0" for title in titles), titles
    symbols = await client.workspace_symbol_async(lsp.WorkspaceSymbolParams("retry with backoff"))
    assert any("Shop.Retry" in symbol.name for symbol in symbols), [symbol.name for symbol in symbols]


@pytest.mark.parametrize(("client", "encoding"), [(vscode, "utf-16"), (neovim, "utf-8")], indirect=["client"])
async def test_inline_completion(client, project, encoding):
    """Ghost text has the right column, and is not offered beside a menu with the same text."""
    document = opened(client, project, "new.ex", TYPED)
    cursor = lsp.Position(1, UNITS[encoding] + len(TYPED.splitlines()[1]) - len(BEFORE))
    invoked = lsp.InlineCompletionContext(trigger_kind=lsp.InlineCompletionTriggerKind.Invoked)
    params = lsp.InlineCompletionParams(invoked, document, cursor)

    async def suggested() -> list[lsp.InlineCompletionItem]:
        return (await client.text_document_inline_completion_async(params)).items

    (first, *_) = await eventually_async(suggested)
    assert first.insert_text.startswith("{:ok, value}")
    assert (first.range.start, first.range.end) == (cursor, cursor)
    menu = await client.text_document_completion_async(lsp.CompletionParams(document, cursor))
    assert not menu.items


@pytest.mark.parametrize("client", [emacs], indirect=True)
async def test_completion(client, project):
    """A client without ghost text gets completion items in the right column."""
    document = opened(client, project, "new.ex", TYPED)
    cursor = lsp.Position(1, len(TYPED.splitlines()[1]))

    async def suggested() -> list[lsp.CompletionItem]:
        return (await client.text_document_completion_async(lsp.CompletionParams(document, cursor))).items

    (first, *_) = await eventually_async(suggested)
    assert first.text_edit.new_text.startswith("{:ok, value}")
    assert first.text_edit.range.end == cursor
