"""Names and strings that give a secret away; such files stay out of the index, and so of prompts and training.

Errs on the side of leaving a file out. Knows nothing of files; every pattern is bounded, so
that no text makes it slow.
"""

import re
from fnmatch import translate
from typing import Final

_NAMES: Final = (
    ".env", ".env.*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".htpasswd",
    ".git-credentials", "credentials", "credentials.*", "secrets.*", "*.secret.exs", ".erlang.cookie",
)  # fmt: skip
_NAME: Final = re.compile("|".join(map(translate, _NAMES)))

_TOKENS: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\+[nr]|[A-Za-z0-9+/=]{8}|\Z)"
    r"|\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"  # AWS
    r"|\bgh[pousr]_[A-Za-z0-9]{36}"  # GitHub
    r"|\bgithub_pat_[A-Za-z0-9_]{22}"
    r"|\bglpat-[A-Za-z0-9_-]{20}"  # GitLab
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10}"  # Slack
    r"|\bhooks\.slack\.com/services/T[A-Za-z0-9]{6}"
    r"|\bsk-(?:ant-|proj-|svcacct-)?[A-Za-z0-9_-]{32}"  # Anthropic, OpenAI
    r"|\b[rs]k_live_[A-Za-z0-9]{16}"  # Stripe
    r"|\bAIza[A-Za-z0-9_-]{35}"  # Google
    r"|\bya29\.[A-Za-z0-9_-]{20}"
    r"|\bhf_[A-Za-z0-9]{30}"  # Hugging Face
    r"|\bnpm_[A-Za-z0-9]{36}"
    r"|\bpypi-AgE[A-Za-z0-9_-]{50}"
    r"|\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16}"  # SendGrid
    r"|\bdop_v1_[a-f0-9]{64}"  # DigitalOcean
    r"|\beyJ[A-Za-z0-9_-]{16,512}\.eyJ[A-Za-z0-9_-]{16,4096}\.[A-Za-z0-9_-]{16}"  # a signed JSON web token
)
_ASSIGNED: Final = re.compile(
    r"(?:secret|token|passw(?:or)?d|api_?key|private_?key|access_?key|signing_?salt|key_base|credential)[A-Za-z0-9_]{0,32}"
    r"[\"']?[\])]?\s{0,4}(?:=>|:=|[:=,])\s{0,4}[\"']([A-Za-z0-9+/=_-]{32,512})[\"']",
    re.IGNORECASE,
)
# Most texts hold none of these, and looking for a plain string is far cheaper than for a pattern.
_TOKEN_SIGNS: Final = (
    "PRIVATE KEY", "AKIA", "ASIA", "ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
    "xox", "hooks.slack", "sk-", "k_live_", "AIza", "ya29.", "hf_", "npm_", "pypi-", "SG.", "dop_v1_", "eyJ",
)  # fmt: skip
_ASSIGNED_SIGNS: Final = ("secret", "token", "passw", "key", "signing", "credential")
_LONG: Final = 40
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_FEWEST_DIFFERENT: Final = 12
_IDENTIFIER: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def secret_name(name: str) -> bool:
    """Whether a file of this name (without folders) usually holds secrets."""
    return _NAME.fullmatch(name.lower()) is not None


def holds_secret(text: str) -> bool:
    """Whether the text holds a private key, a well-known token, or a random value assigned to a secret's name."""
    if any(sign in text for sign in _TOKEN_SIGNS) and _TOKENS.search(text) is not None:
        return True
    lowered = text.lower()
    if not any(sign in lowered for sign in _ASSIGNED_SIGNS):
        return False
    return any(_random(match[1]) for match in _ASSIGNED.finditer(text))


def _random(value: str) -> bool:
    """Whether a value looks drawn at random: digits and letters, few repeated, no UUID, no name in one case."""
    digits = any(letter.isdigit() for letter in value)
    if not digits or len(set(value)) < _FEWEST_DIFFERENT or _IDENTIFIER.fullmatch(value) is not None:
        return False
    both_cases = value != value.lower() and value != value.upper()
    return both_cases or _HEXADECIMAL.issuperset(value) or len(value) >= _LONG
