"""The handlers of the language server, one module per feature."""
