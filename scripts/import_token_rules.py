"""Converts gitleaks' rules for known tokens into the data of `codekin.parsing.secrets`.

    python scripts/import_token_rules.py gitleaks.toml COMMIT > server/codekin/parsing/token_rules.toml

Go's expressions become Python's; what a value may stand in is widened to the literals of Elixir and C++. Rules that
name no token of a shape of their own stay out: the detector has its own for those.
"""

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

LEFT_OUT = frozenset(
    # Values of any shape behind a telling name, keys in PEM, signed tokens: the detector has rules of its own.
    {"generic-api-key", "hashicorp-tf-password", "private-key", "jwt", "jwt-base64"}
    # Not bounded, or about other files than code.
    | {"curl-auth-header", "curl-auth-user", "kubernetes-secret-yaml", "nuget-config-password", "pkcs12-file"}
)
KEYWORDS = {
    "vault-service-token": ["hvs."],
    "sourcegraph-access-token": ["sgp_"],
    "cloudflare-origin-ca-key": ["v1.0-"],
}
REPLACED = {
    r"|s\.(?i:[a-z0-9]{24})": "",
    r"|[a-fA-F0-9]{40})\b)": r")\b)",
    r"\z": r"\Z",
    "[[:alnum:]]": "[A-Za-z0-9]",
    r"[\w.-]{0,50}?": "",
    r"""(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}""": (
        r"""(?:=|>|:{1,3}=|\|\||:|=>|\?=|,|[({]|\[\]|\s(?=["~]))[\x60'"\s={(]{0,5}"""
        r"""(?:(?:u8|[uULRbf]){1,2}["'(]{1,2}|~[scSwW]["'({\[<|/]{1,3}\s{0,8})?"""
    ),
    r"""(?:[\x60'"\s;]|\\[nr]|$)""": "(?![A-Za-z0-9_-])",
    r"""(?:[\x60'"\s;]|\\[nr]|$|\b)""": "(?![A-Za-z0-9_-])",
    r"""(?:$|[\\'"\x60\s<),])""": "(?![A-Za-z0-9_~.-])",
}


def main() -> None:
    """Prints the data."""
    source, commit = Path(sys.argv[1]), sys.argv[2]
    rules = tomllib.loads(source.read_text())["rules"]
    print(f"# Tokens of known shapes, from gitleaks {commit} (config/gitleaks.toml),")
    print("# MIT License, Copyright (c) 2019 Zachary Rice; see NOTICE.")
    print("# Written by scripts/import_token_rules.py: do not edit.")
    for rule in rules:
        if rule["id"] not in LEFT_OUT and "regex" in rule:
            print(f"\n[[rule]]\n{_table(rule)}")


def _table(rule: dict[str, Any]) -> str:
    regex = convert(rule["regex"])
    re.compile(regex)
    keywords = KEYWORDS.get(rule["id"], rule["keywords"])
    lines = [f"id = {json.dumps(rule['id'])}", f"keywords = {json.dumps(keywords)}", f"regex = {json.dumps(regex)}"]
    return "\n".join([*lines, f"entropy = {float(rule.get('entropy', 0))}"])


def convert(expression: str) -> str:
    """Python's form of one of Go's expressions."""
    for old, new in REPLACED.items():
        expression = expression.replace(old, new)
    return _scoped_flags(expression)


def _scoped_flags(expression: str) -> str:
    """`(?i)` within an expression holds until the end of its group; Python wants it as a group."""
    result, opened, at, in_class = "", [0], 0, False
    while at < len(expression):
        if expression.startswith("(?i)", at) and not in_class:
            result += "(?i:"
            opened[-1] += 1
            at += 4
            continue
        letter = expression[at : at + 2] if expression[at] == "\\" else expression[at]
        if letter == "[" or (letter == "]" and in_class):
            in_class = letter == "["
        elif letter == "(" and not in_class:
            opened.append(0)
        elif letter == ")" and not in_class:
            result += ")" * opened.pop()
        result += letter
        at += len(letter)
    return result + ")" * opened[0]


if __name__ == "__main__":
    main()
