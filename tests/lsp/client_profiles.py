"""What today's editors say of themselves in `initialize`, as far as it bears on this server."""

VSCODE = {
    "encodings": ("utf-16",),
    "clientInfo": {"name": "Visual Studio Code", "version": "1.139.1"},
    "locale": "en",
    "trace": "off",
    "capabilities": {
        "workspace": {
            "applyEdit": True,
            "configuration": True,
            "workspaceFolders": True,
            "codeLens": {"refreshSupport": True},
            "didChangeConfiguration": {"dynamicRegistration": True},
            "didChangeWatchedFiles": {"dynamicRegistration": True, "relativePatternSupport": True},
            "symbol": {
                "symbolKind": {"valueSet": list(range(1, 27))},
                "resolveSupport": {"properties": ["location.range"]},
            },
        },
        "textDocument": {
            "inlineCompletion": {"dynamicRegistration": True},
            "completion": {"completionItem": {"snippetSupport": True, "insertReplaceSupport": True}},
            "codeLens": {"dynamicRegistration": True, "resolveSupport": {"properties": ["command"]}},
            "codeAction": {"isPreferredSupport": True, "dataSupport": True, "honorsChangeAnnotations": True},
        },
        "window": {"workDoneProgress": True, "showDocument": {"support": True}, "showMessage": {}},
    },
    "initializationOptions": {"showSimilarCommand": "codekin.showSimilar"},
}

NEOVIM = {
    "encodings": ("utf-8", "utf-16", "utf-32"),
    "clientInfo": {"name": "Neovim", "version": "0.11.4"},
    "trace": "off",
    "capabilities": {
        "workspace": {
            "applyEdit": True,
            "configuration": True,
            "workspaceFolders": True,
            "didChangeConfiguration": {"dynamicRegistration": False},
            "didChangeWatchedFiles": {"dynamicRegistration": False, "relativePatternSupport": True},
        },
        "textDocument": {"codeLens": {"dynamicRegistration": False}, "completion": {"contextSupport": True}},
        "window": {"workDoneProgress": True, "showDocument": {"support": True}},
    },
}

EMACS = {
    "encodings": ("utf-32", "utf-8", "utf-16"),
    "clientInfo": {"name": "Emacs", "version": "GNU Emacs 30.1"},
    "rootPath": None,
    "capabilities": {
        "workspace": {"applyEdit": True, "configuration": True, "workspaceFolders": True},
        "textDocument": {"completion": {"completionItem": {"snippetSupport": False}, "contextSupport": True}},
        "window": {"showDocument": {"support": True}, "workDoneProgress": True},
        "experimental": {},
    },
    "initializationOptions": {},
}

PROFILES = {"vscode": VSCODE, "neovim": NEOVIM, "emacs": EMACS}
