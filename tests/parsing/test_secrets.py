"""Which texts and names hold secrets: literals of every form beside a telling name, tokens, addresses."""

import random
import re
import string
import time

import pytest

from codekin.parsing import secrets
from codekin.parsing.secrets import contains_secret, is_secret_name

KEY = "".join(random.Random(3).choices(string.ascii_letters + string.digits, k=40))  # drawn, belongs to nobody
HEX = KEY.encode().hex()[:32]

SECRETS = [
    'const char API_KEY[] = "VALUE";',
    'std::string api_key{"VALUE"};',
    'std::string api_key("VALUE");',
    '#define API_KEY "VALUE"',
    'auto api_key = R"(VALUE)";',
    'auto api_key = u8"VALUE";',
    f'auto api_key = "{KEY[:20]}"\n  "{KEY[20:]}";',
    'client.set_api_key("VALUE");',
    '@api_key "VALUE"',
    "api_key = ~s(VALUE)",
    '@secret """\nVALUE\n"""',
    'System.get_env("SECRET_KEY_BASE") || "VALUE"',
    '"Authorization: Bearer VALUE"',
    'url: "ecto://app:Tr0ub4dor&3@db.internal/shop"',
    '"amqps://u:Hk3!kf9sL2@h/v"',
    '"mongodb+srv://root:8fkA0sLq2@c.mongodb.net"',
    '"AccountKey=VALUEVALUE=="',
    '"hvs.VALUE"',
    'password: "c0rrect-H0rse!batt3ry"',
    f'"SK{HEX}"',
    f'"shpat_{HEX}"',
    f'"dapi{HEX}"',
    '"whsec_VALUE"',
    "secret_key_base: VALUE",  # YAML
    "  - api_token: VALUE",
    "export DEPLOY_TOKEN=VALUE",  # a shell script
    'private_key = "VALUE"',  # Terraform
    'let api_key: &str = "VALUE";',  # Rust
    'apiKey := "VALUE"',  # Go
    "define('API_KEY', 'VALUE');",  # PHP
    '-define(API_KEY, "VALUE").',  # Erlang
    "apiVersion: v1\nkind: Secret\nmetadata:\n  name: shop\ndata:\n  password: aGVsbG8=",
    'auto api_key = R"key(VALUE)key";',
    'auto api_key = u8R"(VALUE)";',
    'const wchar_t* api_key = L"VALUE";',
    'auto key = getenv("API_KEY") ? getenv("API_KEY") : "VALUE";',
    'setenv("API_KEY", "VALUE", 1);',
    'constexpr std::string_view api_key() { return "VALUE"; }',
    'auto json = "{\\"api_key\\": \\"VALUE\\"}";',
    f'auto api_key = "{KEY[:20]}\\\n{KEY[20:]}";',
    f'api_key: "{KEY[:20]}" <>\n  "{KEY[20:]}"',
    "api_key = ~S|VALUE|",
    "api_key = ~s/VALUE/",
    'api_key = ~c"VALUE"',
    'Application.get_env(:shop, :api_key, "VALUE")',
    'def api_key, do: "VALUE"',
    'def api_key do\n    "VALUE"\n  end',
    '@api_key Base.decode64!("VALUE")',
    '"redis://:8fkA0sLq2@cache:6379/0"',
    'R"(Server=db;Password=Hk3!kf9sL2x;)"',
    "kind: Secret\nmetadata:\n  name: shop\ndata:\n  A: <base64>\n  B: c2hvcA==\n",
    "kind: Secret\nmetadata:\n  name: shop\nstringData:\n  note: |\n    shop\n",
    f'"glrt-{KEY[:20]}"',
    f'"lin_api_{KEY}"',
    f'fastly = "{KEY[:32]}"',
    f'x = "ghp_{KEY[:10]}" <> "{KEY[10:36]}"',
]


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_is_found_whatever_form_its_literal_has(line: str) -> None:
    """The file is left out of the index, prompts and training."""
    assert contains_secret(f"x = 1\n{line.replace('VALUE', KEY)}\n")


PLAIN = [
    'token = "the_name_of_a_token_that_is_quite_long_1"',
    'url: "ecto://postgres:postgres@localhost/shop"',
    '"https://user:password@example.com"',
    '"https://example.com:8080/a@b"',
    'password: "hello world 1!"',
    "field :password, :string, redact: true",
    'System.get_env("SECRET_KEY_BASE") || raise "no key"',
    'secret_key_base: String.duplicate("a", 64)',
    'id: "0f8fad5b-d9cb-469f-a165-70867728950e"',
    "#{scheme}://#{user}:#{password}@#{host}",
    "token: ${{ secrets.DEPLOY_TOKEN }}",
    "image_token: registry_example_com_shop_ledger_v1",
    "apiVersion: v1\nkind: SealedSecret\nmetadata:\n  name: shop\nspec:\n  data: {}",
    "Read the kind: Secret of the cluster in data: form",
    "kind: Secret\nmetadata:\n  name: shop\ndata:\n  A: <base64>\n  B: ${VALUE}\n  C: '{{ .Values.key }}'\n",
    f'%{{"_csrf_token" => "{KEY}"}}',
    f'xsrf-token: "{KEY}"',
    'password: "verylongpass"',
    '<.password_field id="teams-key" label="Key" />',
    'token_type = "SomeVeryLongNameOfATokenType"',
    'secret_name = "a-name-of-a-secret-in-the-vault"',
    'static_assert(sizeof("secret") == 7);',
    'std::string token; std::string digest = "d41d8cd98f00b204e9800998ecf8427e";',
    'cookie = "session=" <> session_id <> "; path=/"',
]


@pytest.mark.parametrize("line", PLAIN)
def test_what_only_looks_like_a_secret_is_kept(line: str) -> None:
    """Names, placeholders and prose are code like any other."""
    assert not contains_secret(line)


@pytest.mark.parametrize(
    "name", ["prod.secrets.exs", "gen.secret.exs", ".secrets.exs", "secret.exs", "secret.h", "prod.secret.ex", ".env"]
)
def test_names_of_secret_files(name: str) -> None:
    """In the singular and the plural."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["secrets_manager.ex", "secretary.ex", "key.ex", "credentials_view.ex"])
def test_names_of_other_files(name: str) -> None:
    """A word of a name alone is no reason."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["secrets.ex", "secret.ex", "secret.pb.ex", "secretive.ex", "secrets_test.exs", "phx.gen.secret.ex"]
)
def test_a_module_about_secrets_is_code(name: str) -> None:
    """What a module is named after is no reason to leave it out; its content is looked at like any other."""
    assert not is_secret_name(name)


def test_every_rule_for_tokens_compiles_and_needs_a_word_of_its_own() -> None:
    """The data holds expressions that Python reads, each with keywords in lower case."""
    rules = secrets._token_rules()
    assert len({rule for known in rules.values() for rule in known}) > 200
    assert all(keyword == keyword.lower() and len(keyword) >= 2 for keyword in rules)
    for known in rules.values():
        for rule in known:
            re.compile(rule.regex)


HOSTILE = [
    "secret" * 30_000,
    "secret_key = " * 20_000,
    'token = "' + "a" * 200_000,
    "password(" * 20_000,
    'api_key: "aaaa" <> ' * 10_000,
    "secret" + "[" * 100_000,
    "secret = " + "a.b(" * 50_000,
    "secret = getenv('" + "x' ,'" * 50_000,
    "https://" + "a:" * 100_000,
    "token {" * 20_000,
    "xapp-1-A-1-" * 20_000,
    "adafruit " * 20_000,
    "-----BEGIN " * 20_000,
    "eyJ" * 70_000,
    "N" * 200_000,
    '"" ' * 60_000,
    "\\\n" * 100_000,
    "\u0130secret = 'x'" * 10_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:12].encode("unicode_escape").decode() for text in HOSTILE])
def test_no_text_makes_the_search_slow(text: str) -> None:
    """A file of 200 kB takes a part of a second, whatever it repeats."""
    began = time.thread_time()
    contains_secret(text)
    assert time.thread_time() - began < 2
