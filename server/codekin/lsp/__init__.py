"""The protocol, in and out: the thin process that every editor window starts as `codekin lsp`.

Knows the Language Server Protocol, the open documents and where the daemon is reached; it
knows nothing of syntax, vectors or models, and importing it loads none of them.
"""
