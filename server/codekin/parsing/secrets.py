"""Detects file names and strings that contain secrets; such files stay out of the index, prompts and training.

It errs on the side of leaving a file out. Every pattern is bounded, so that no text makes it slow. Beside its own rules
it has those of gitleaks for tokens of known shapes (token_rules.toml).
"""

import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

_SECRET_NAMES: Final = (
    ".env", ".env.*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".htpasswd",
    ".git-credentials", "credentials", "credentials.*", "secret.*", "secrets.*",
    ".secret.*", ".secrets.*", "*.secret.ex", "*.secret.exs",
    "*.secrets.ex", "*.secrets.exs", ".erlang.cookie", "*.tfvars", "*.tfstate", "*.tfstate.backup",
)  # fmt: skip
# A module about secrets (`secrets.ex`, `secret.pb.ex`) or a mix task that makes one (`phx.gen.secret.ex`) is code; its
# content is looked at like any other.
_SECRET_NAME: Final = re.compile(
    r"(?!secrets?\.(?:pb\.)?ex\Z|[\w.]+\.gen\.secrets?\.ex\Z)(?:" + "|".join(map(translate, _SECRET_NAMES)) + ")"
)

_TOKENS: Final = {
    "PRIVATE KEY": r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\+[nr]|[A-Za-z0-9+/=]{8}|\Z)",
    **dict.fromkeys(("AKIA", "ASIA", "ABIA", "ACCA"), r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    "github_pat_": r"\bgithub_pat_[A-Za-z0-9_]{22}",
    "xox": r"\bxox[abeoprs]-[A-Za-z0-9-]{10}",
    "hooks.slack": r"\bhooks\.slack\.com/services/T[A-Za-z0-9]{6}",
    "sk-": r"\bsk-(?:ant-|proj-|svcacct-)?[A-Za-z0-9_-]{32}",
    "k_live_": r"\b[rs]k_live_[A-Za-z0-9]{16}",
    "ya29.": r"\bya29\.[A-Za-z0-9_-]{20}",
    "hf_": r"\bhf_[A-Za-z0-9]{30}",
    "SG.": r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16}",
    "hvs.": r"\bhvs\.[A-Za-z0-9_-]{24}",
    "hvb.": r"\bhvb\.[A-Za-z0-9_-]{24}",
    "AGE-SECRET": r"\bAGE-SECRET-KEY-1[A-Z0-9]{20}",
    "key-": r"\bkey-[0-9a-f]{32}\b",  # Mailgun
    ":AA": r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",  # Telegram
    "dckr_pat_": r"\bdckr_pat_[A-Za-z0-9_-]{27}",
    "whsec_": r"\bwhsec_[A-Za-z0-9+/=]{24}",
    "fm": r"\bfm[12]r?_[A-Za-z0-9+/=_-]{40}",  # Fly
    "sq0": r"\bsq0(?:csp|atp|idp)-[A-Za-z0-9_-]{22}",
    "AccountKey=": r"\bAccountKey=[A-Za-z0-9+/]{40}",  # Azure
    "Bearer": r"\bBearer\s+(?=[A-Za-z_-]{0,64}[0-9])[A-Za-z0-9._~+/-]{32}",
    "://": (  # an address with a password
        r"(?<![a-z])(?:ecto|amqps?|postgres(?:ql)?|mysql|mongodb(?:\+srv)?|rediss?|https?|ftp|smtps?)://"
        r"[^\s:/@\"'#{}<>$]{0,64}:"
        r"(?!(?:pass(?:word|wd)?|pw|pwd|secret|postgres|guest|root|admin|user|test|token|x|example)@)"
        r"(?=[^\s@/\"'<>{}]{0,128}[0-9])(?:[^\s@/\"'<>{}$#]|\$(?!\{)){6,128}@[\w.-]"
    ),
    "eyJ": r"\beyJ[A-Za-z0-9_-]{16,512}\.eyJ[A-Za-z0-9_-]{16,4096}\.[A-Za-z0-9_-]{16}",  # a signed JSON web token
    **dict.fromkeys(  # Discord
        (".",),
        r"\b[MNO](?=[\w-]{0,24}[0-9])[A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.(?=[A-Za-z_-]{0,38}[0-9])[\w-]{27,40}(?![\w.-])",
    ),
}
"""Tokens by a text without which there are none: looking for a plain text is far cheaper than for a pattern."""

_NAMES: Final = (
    "secret", "token", "passw", "passphrase", "pwd", "api_key", "apikey", "api-key", "private_key", "privatekey",
    "access_key", "accesskey", "account_key", "accountkey", "signing_salt", "signing_key", "encryption_", "key_base",
    "master_key", "auth_key", "credential", "cookie",
)  # fmt: skip
# What opens a literal: a prefix (u8, L, R), quotes, a raw string with its delimiter, a sigil or a heredoc.
_OPENING: Final = (
    r"(?:(?:u8|[uULbf])?R\"[^()\\\s\"]{0,16}+\(|(?:u8|[uULRrbf]){0,2}(?:\"{3}|'{3}|\\?[\"'])"
    r"|~[scwSCW](?:\"{3}|'{3}|[\"'({\[<|/]))\s{0,16}+"
)
# Between a name and its literal: signs of assignment, calls, defaults, a `do` or `return`, other arguments of a call.
_BETWEEN: Final = (
    r"(?!_signature)[A-Za-z0-9_-]{0,40}+\\?[\"'\])}\[]{0,6}+(?:\(\))?+(?:\s{0,4}:\s{0,2}&?[A-Za-z][\w<>?]{0,30}+(?=\s{0,4}=))?\s{0,4}+"
    r"(?:=>|:=|,?\s{0,8}(?<=\s)do\b:?|(?:const\s|noexcept\s|->\s{0,4}[\w:]{1,40}\s){0,3}\{\s{0,40}+return"
    r"|\|\||[:=,({?]|(?<=\s)(?=[\"'~uULRrbf]|[A-Z][\w.]{0,60}!?\(\s{0,8}[\"'~]))"
    r"[\s({|=\[]{0,40}+(?:[A-Za-z_][\w.:!]{0,60}+[({]\s{0,8}+){0,2}"
    r"(?:[A-Za-z_][\w.:]{0,60}+(?:\([\"'\w:., ]{0,80}+\))?+\s{0,4}+(?:\|\||\?:?|:)\s{0,4}+){0,2}"
)
_VALUE: Final = (
    r"([A-Za-z0-9+/=_-]{24,512}|(?:[A-Za-z0-9+/=_-]{4,512}+[\"'](?:\s{1,64}|\s{0,16}(?:<>|\+)\s{0,64})[\"']){1,6}+"
    r"[A-Za-z0-9+/=_-]{1,512}+)\s{0,16}[\"'\])}>|/\\]"
)
_ASSIGNED: Final = re.compile(_BETWEEN + _OPENING + _VALUE)
_PASSWORD: Final = re.compile(
    _BETWEEN
    + _OPENING
    + r"(?=[^\"'\s]{0,64}[0-9])(?=[^\"'\s]{0,64}[!@$%^&*?])(?=[^\"'\s]{0,64}[A-Za-z])"
    + r"[^\"'\s#{}<>()]{10,64}[\"')}\]|/>]"
)
# A password within a longer text, as in the connection strings of databases.
_CONNECTION: Final = re.compile(
    r"(?:ord|wd|d)=(?=[^\s;\"'&]{0,64}[0-9])(?=[^\s;\"'&]{0,64}[!@$%^*?A-Z])(?=[^\s;\"'&]{0,64}[A-Za-z])"
    r"[^\s;\"'&{}#<>()]{8,64}[;&\"')]"
)
# The same without quotes, to the end of the line, as in YAML, Terraform and shell scripts; and Kubernetes' secrets.
_BARE: Final = re.compile(r"[\w.-]{0,32}(?::[ \t]{1,8}|=)([A-Za-z0-9+/=_-]{32,512})[ \t]{0,8}\r?(?:\n|\Z)")
_BARE_START: Final = re.compile(r"[ \t]*(?:- |export |set )?[\w.-]{0,40}")
_KUBERNETES: Final = re.compile(
    r"^kind:[ \t]*Secret[ \t]*\r?$(?=(?s:.{0,500}?)^(?:stringData|data):[ \t]*\r?\n"
    r"(?:[ \t]+[^\n]{0,500}\n){0,64}?[ \t]+[\w.-]{1,128}:[ \t]{1,8}(?![\"']?(?:[<$]|\{\{))[^\s#])",
    re.MULTILINE,
)
"""One with a value at least; placeholders in `<>`, `$` or `{{` hold none."""
_SHORT_LIVED: Final = ("csrf", "xsrf")
"""A token against forged requests belongs to one session and ends with it; guides print them."""
_PASSWORD_NAMES: Final = frozenset({"secret", "passw", "passphrase", "pwd"})
_JOINT: Final = re.compile(r"[\"'](?:\s+|\s*(?:<>|\+)\s*)[\"']")
_CONTINUED: Final = re.compile(r"\\\r?\n\s*")
_LONG_VALUE: Final = 40
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_MIN_DISTINCT: Final = 12
_MIN_DISTINCT_HEXADECIMAL: Final = 9
_SHORT_VALUE: Final = 32
_SHORT_DIGITS: Final = 3
_IDENTIFIER: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_secret_name(name: str) -> bool:
    """Whether a file of this name (without folders) usually holds secrets."""
    return _SECRET_NAME.fullmatch(name.lower()) is not None


def contains_secret(text: str) -> bool:
    """Whether the text holds a private key, a well-known token, or a random value assigned to a secret's name."""
    text = _CONTINUED.sub("", text)
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters become two; places must agree
        lowered = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    if "kind: Secret" in text and _KUBERNETES.search(text) is not None:
        return True
    return _contains_token(text, lowered) or any(_is_assigned(text, name, at) for name, at in _names_in(lowered))


def _names_in(lowered: str) -> Iterator[tuple[str, int]]:
    """The telling names in a text, and where each ends."""
    for name in _NAMES:
        at = lowered.find(name)
        while at >= 0:
            if not lowered[max(0, at - 5) : at].rstrip("_-").endswith(_SHORT_LIVED):
                yield name, at + len(name)
            at = lowered.find(name, at + len(name))


def _is_assigned(text: str, name: str, end: int) -> bool:
    """Whether a literal behind a name looks like a secret."""
    found = _ASSIGNED.match(text, end) or _bare_value(text, end)
    if found is not None and _looks_random(_JOINT.sub("", found[1])):
        return True
    if name not in _PASSWORD_NAMES:
        return False
    return _PASSWORD.match(text, end) is not None or _CONNECTION.match(text, end) is not None


def _bare_value(text: str, end: int) -> re.Match[str] | None:
    """What stands behind a name that is alone at the beginning of its line, without quotes."""
    found = _BARE.match(text, end)
    if found is None:
        return None
    start = max(text.rfind("\n", 0, end) + 1, end - 128)
    return found if _BARE_START.fullmatch(text, start, end) else None


def _contains_token(text: str, lowered: str) -> bool:
    rules = [TokenRule(regex) for sign, regex in _TOKENS.items() if sign in text]
    rules += [rule for keyword, known in _token_rules().items() if keyword in lowered for rule in known]
    joined = _JOINT.sub("", text) if rules else text  # literals that were split
    texts = (text,) if joined == text else (text, joined)
    return any(rule.finds(each) for rule in dict.fromkeys(rules) for each in texts)


@dataclass(frozen=True, slots=True)
class TokenRule:
    """A token of a known shape: its expression, and the least entropy (bits a character) that makes it one."""

    regex: str
    entropy: float = 0.0

    def finds(self, text: str) -> bool:
        """Whether the text holds such a token."""
        return any(
            entropy(match[match.lastindex or 0]) >= self.entropy for match in _compiled(self.regex).finditer(text)
        )


@lru_cache(maxsize=512)
def _compiled(regex: str) -> re.Pattern[str]:
    return re.compile(regex)


@cache
def _token_rules() -> dict[str, list[TokenRule]]:
    """The rules for tokens by keyword, in lower case, without which a text holds none."""
    data = Path(__file__).with_name("token_rules.toml").read_text(encoding="utf-8")
    rules: dict[str, list[TokenRule]] = {}
    for row in tomllib.loads(data)["rule"]:
        for keyword in row["keywords"]:
            rules.setdefault(keyword, []).append(TokenRule(row["regex"], row["entropy"]))
    return rules


def entropy(value: str) -> float:
    """Shannon's entropy of a text's characters, in bits a character."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())


def _looks_random(value: str) -> bool:
    """Whether a value looks drawn at random: digits and letters, few repeated, no UUID, no name in one case."""
    digits = sum(letter.isdigit() for letter in value)
    is_hexadecimal = _HEXADECIMAL.issuperset(value)
    least = _MIN_DISTINCT_HEXADECIMAL if is_hexadecimal else _MIN_DISTINCT
    if not digits or len(set(value)) < least or _IDENTIFIER.fullmatch(value) is not None:
        return False
    if len(value) < _SHORT_VALUE and (digits < _SHORT_DIGITS or not value.isalnum()):
        return False
    both_cases = value != value.lower() and value != value.upper()
    return (
        both_cases or is_hexadecimal or (len(value) >= _LONG_VALUE and len(re.split(r"[_-]", value)) * 8 < len(value))
    )
