"""`workspace/symbol` by meaning: the editor's symbol search, asked in words."""

from collections.abc import Mapping
from typing import Any

from lsprotocol import types as lsp

from codekin.lsp.convert import location
from codekin.lsp.features.search import search
from codekin.lsp.session import Session

LIMIT = 50
KINDS = {
    "module": lsp.SymbolKind.Module,
    "protocol": lsp.SymbolKind.Interface,
    "implementation": lsp.SymbolKind.Module,
    "namespace": lsp.SymbolKind.Namespace,
    "class": lsp.SymbolKind.Class,
    "struct": lsp.SymbolKind.Struct,
    "method": lsp.SymbolKind.Method,
    "constructor": lsp.SymbolKind.Constructor,
    "operator": lsp.SymbolKind.Operator,
    "file": lsp.SymbolKind.File,
}


async def symbols(session: Session, params: Any) -> list[lsp.SymbolInformation]:
    """The best places for the query; none for an empty one, which would mean everything."""
    query = params.get("query") if isinstance(params, Mapping) else None
    if not isinstance(query, str) or not query.strip() or not list(session.folders):
        return []
    answer = await search(session, {"text": query, "limit": LIMIT})
    return [_symbol(hit) for hit in answer["hits"]]


def _symbol(hit: Mapping[str, Any]) -> lsp.SymbolInformation:
    kind = KINDS.get(hit["kind"], lsp.SymbolKind.Function)
    return lsp.SymbolInformation(
        name=hit["name"] or hit["path"], kind=kind, location=location(hit), container_name=hit["path"]
    )
