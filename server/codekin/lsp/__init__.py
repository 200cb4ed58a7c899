"""The language server: the small process that each editor window starts as `codekin lsp`.

It speaks the Language Server Protocol, keeps the text of the open documents and calls the daemon. Importing it
loads no parser, vectors or models.
"""
