"""How many planted secrets are found, by literal form, name and token, and how many files are wrongly left out.

    python scripts/benchmarks/planted_secrets.py [REPOSITORY …] [--list]

Values are drawn, tokens are drawn from the shapes that their makers publish; nothing here belongs to anybody.
`--list` prints what was missed and the files of the repositories that were left out.
"""

import argparse
import base64
import random
import string
import time
from collections.abc import Iterator
from pathlib import Path

from codekin.parsing import detect_language
from codekin.parsing.secrets import contains_secret

CPP = [
    'const char NAME[] = "VALUE";',
    'const char* NAME = "VALUE";',
    'std::string NAME{"VALUE"};',
    'std::string NAME("VALUE");',
    'std::string NAME = {"VALUE"};',
    'std::string_view NAME = "VALUE"sv;',
    'auto NAME = "VALUE"s;',
    '#define NAME "VALUE"',
    'auto NAME = R"(VALUE)";',
    'auto NAME = R"key(VALUE)key";',
    'auto NAME = u8"VALUE";',
    'const wchar_t* NAME = L"VALUE";',
    'auto NAME = u8R"(VALUE)";',
    'auto NAME = LR"x(VALUE)x";',
    'client.set_NAME("VALUE");',
    'config.NAME = "VALUE";',
    'config["NAME"] = "VALUE";',
    'std::map<std::string, std::string> m{{"NAME", "VALUE"}};',
    'setenv("NAME", "VALUE", 1);',
    'auto v = getenv("NAME") ? getenv("NAME") : "VALUE";',
    'auto v = get_or("NAME", "VALUE");',
    'auto NAME = "HEAD"\n    "TAIL";',
    'auto NAME = "HEAD" "TAIL";',
    'auto NAME = "HEAD\\\nTAIL";',
    'constexpr std::string_view NAME() { return "VALUE"; }',
    'auto j = "{\\"NAME\\": \\"VALUE\\"}";',
    'auto j = R"({"NAME": "VALUE"})";',
    'std::string NAME = std::string("VALUE");',
    'auto NAME = absl::StrCat("HEAD", "TAIL");',
]
ELIXIR = [
    '@NAME "VALUE"',
    "@NAME  ~s(VALUE)",
    "@NAME 'VALUE'",
    'NAME = "VALUE"',
    "NAME = 'VALUE'",
    'NAME = ~c"VALUE"',
    "NAME = ~s(VALUE)",
    "NAME = ~S|VALUE|",
    "NAME = ~s{VALUE}",
    "NAME = ~s[VALUE]",
    "NAME = ~s<VALUE>",
    "NAME = ~s/VALUE/",
    "NAME = ~w(VALUE)",
    '@NAME """\nVALUE\n"""',
    '@NAME ~S"""\n  VALUE\n  """',
    'NAME: "VALUE",',
    '"NAME" => "VALUE",',
    ':NAME => "VALUE",',
    '{:NAME, "VALUE"},',
    '{"NAME", "VALUE"},',
    'config :shop, NAME: "VALUE"',
    'config :shop, Shop.Mailer,\n  NAME: "VALUE"',
    'System.get_env("NAME") || "VALUE"',
    'System.get_env("NAME", "VALUE")',
    'Application.get_env(:shop, :NAME, "VALUE")',
    'Application.put_env(:shop, :NAME, "VALUE")',
    'put_in(c[:NAME], "VALUE")',
    'def NAME, do: "VALUE"',
    'def NAME() do\n    "VALUE"\n  end',
    'NAME = "HEAD" <> "TAIL"',
    'NAME: "HEAD" <>\n  "TAIL"',
    '@NAME Base.decode64!("VALUE")',
    'System.put_env("NAME", "VALUE")',
    'Keyword.put(opts, :NAME, "VALUE")',
    'NAME: System.get_env("X") || "VALUE"',
    'fetch(:NAME) || raise("VALUE")',
]
NAMES = [
    "api_key",
    "API_KEY",
    "kApiKey",
    "secret_key_base",
    "aws_secret_access_key",
    "client_secret",
    "auth_token",
    "access_token",
    "private_key",
    "signing_salt",
    "encryption_key",
    "webhook_secret",
    "db_password",
    "passphrase",
    "credentials",
]
OPEN = [
    '"Authorization: Bearer VALUE"',
    '{"authorization", "Bearer VALUE"}',
    'url: "ecto://app:PASSWORD@db.internal/shop"',
    '"postgres://svc:PASSWORD@10.0.0.4:5432/x"',
    '"amqps://u:PASSWORD@h/v"',
    '"mongodb+srv://root:PASSWORD@c.mongodb.net"',
    '"https://bot:PASSWORD@git.example.org/x.git"',
    '"redis://:PASSWORD@cache:6379/0"',
    'password: "PASSWORD"',
    'std::string db_password = "PASSWORD";',
    "@password ~s(PASSWORD)",
    '{:password, "PASSWORD"}',
    'R"(password=PASSWORD;)"',
]
LETTERS = string.ascii_letters + string.digits
TOKENS = {  # name: (prefix, alphabet, length, end)
    "aws": ("AKIA", string.ascii_uppercase + "234567", 16, ""),
    "github": ("ghp_", LETTERS, 36, ""),
    "github fine": ("github_pat_", LETTERS, 82, ""),
    "gitlab": ("glpat-", LETTERS, 20, ""),
    "gitlab runner": ("glrt-", LETTERS, 20, ""),
    "slack": ("xoxb-1234567890-1234567890123-", LETTERS, 24, ""),
    "stripe": ("sk_live_", LETTERS, 24, ""),
    "stripe test": ("rk_test_", LETTERS, 24, ""),
    "google": ("AIza", LETTERS, 35, ""),
    "anthropic": ("sk-ant-api03-", LETTERS, 93, "AA"),
    "hugging face": ("hf_", string.ascii_letters, 34, ""),
    "npm": ("npm_", LETTERS, 36, ""),
    "pypi": ("pypi-AgEIcHlwaS5vcmc", LETTERS, 70, ""),
    "sendgrid": ("SG.", LETTERS, 66, ""),
    "digitalocean": ("dop_v1_", "0123456789abcdef", 64, ""),
    "vault": ("hvs.", LETTERS, 95, ""),
    "age": ("AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58, ""),
    "twilio": ("SK", "0123456789abcdef", 32, ""),
    "shopify": ("shpat_", "0123456789abcdef", 32, ""),
    "databricks": ("dapi", "0123456789abcdef", 32, ""),
    "linear": ("lin_api_", LETTERS, 40, ""),
    "doppler": ("dp.pt.", LETTERS, 43, ""),
    "grafana": ("glsa_", LETTERS, 32, "_0a1B2c3D"),
    "planetscale": ("pscale_tkn_", LETTERS, 43, ""),
    "postman": ("PMAK-", "0123456789abcdef", 24, "-" + "0123456789abcdef1" * 2),
    "pulumi": ("pul-", "0123456789abcdef", 40, ""),
    "notion": ("ntn_12345678901", LETTERS, 35, ""),
    "sentry": ("sntryu_", "0123456789abcdef", 64, ""),
    "square": ("sq0atp-", LETTERS, 22, ""),
    "easypost": ("EZAK", LETTERS, 54, ""),
    "rubygems": ("rubygems_", "0123456789abcdef", 48, ""),
    "clojars": ("CLOJARS_", string.ascii_lowercase + string.digits, 60, ""),
    "perplexity": ("pplx-", LETTERS, 48, ""),
    "terraform": ("abcdefgh123456.atlasv1.", LETTERS, 64, ""),
    "openai": ("sk-proj-", LETTERS, 74, "T3BlbkFJ" + LETTERS + LETTERS[:12]),
    "telegram": ("123456789:AA", LETTERS, 33, ""),
    "mailgun": ("key-", "0123456789abcdef", 32, ""),
    "discord": ("MT", LETTERS, 22, ".YmF2ZQ." + LETTERS[30:57]),
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", nargs="*", type=Path)
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    print("| planted | files | found | recall |\n|---|---|---|---|")
    for kind, texts in planted().items():
        missed = [text for text in texts if not contains_secret(text)]
        found = len(texts) - len(missed)
        print(f"| {kind} | {len(texts)} | {found} | {found / len(texts):.3f} |")
        for text in missed if arguments.list else ():
            print("   missed", repr(text))
    for repository in arguments.repositories:
        _print_alarms(repository, arguments.list)


def planted() -> dict[str, list[str]]:
    """Files with a secret each, by kind."""
    drawn = random.Random(7)
    return {
        "literals of C++": [_fill(form, name, value) for form in CPP for name, value in _values(drawn)],
        "literals of Elixir": [_fill(form, name, value) for form in ELIXIR for name, value in _values(drawn)],
        "tokens of known shapes": [
            _fill(form, "x", _token(drawn, shape)) for form in CPP + ELIXIR for shape in TOKENS if "raise" not in form
        ],
        "passwords and addresses": [
            f"x = 1\n{form.replace('PASSWORD', _password(drawn)).replace('VALUE', _draw(drawn, LETTERS, 40))}\n"
            for form in OPEN
            for _ in range(8)
        ],
    }


def _values(drawn: random.Random) -> Iterator[tuple[str, str]]:
    for name in NAMES:
        yield name, _draw(drawn, LETTERS, 40)
        yield name, _draw(drawn, "0123456789abcdef", 32)
        yield name, base64.b64encode(drawn.randbytes(48)).decode()
        yield name, base64.urlsafe_b64encode(drawn.randbytes(24)).decode()


def _fill(form: str, name: str, value: str) -> str:
    half = len(value) // 2
    filled = (
        form.replace("NAME", name).replace("VALUE", value).replace("HEAD", value[:half]).replace("TAIL", value[half:])
    )
    return f"x = 1\n{filled}\n"


def _token(drawn: random.Random, shape: str) -> str:
    prefix, alphabet, length, end = TOKENS[shape]
    return prefix + _draw(drawn, alphabet, length) + end


def _password(drawn: random.Random) -> str:
    return _draw(drawn, LETTERS, 9) + drawn.choice("!$%^&*?") + _draw(drawn, string.digits, 2) + "aZ"


def _draw(drawn: random.Random, alphabet: str, length: int) -> str:
    return "".join(drawn.choices(alphabet, k=length))


def _print_alarms(repository: Path, names: bool) -> None:
    files = [
        path
        for path in sorted(repository.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and path.stat().st_size <= 1 << 20
        and detect_language(path.name, "")
    ]
    texts = [(path, path.read_text(encoding="utf-8", errors="replace")) for path in files]
    began = time.thread_time()
    alarms = [path for path, text in texts if contains_secret(text)]
    took = time.thread_time() - began
    size = sum(len(text) for _, text in texts) / 1e6
    print(f"{repository.name}: {len(alarms)} of {len(files)} files left out, {took:.1f} CPU s for {size:.1f} MB")
    for path in alarms if names else ():
        print("   ", path)


if __name__ == "__main__":
    main()
