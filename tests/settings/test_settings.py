"""Settings: wrong keys and types are named, the rest works, a repository may set only what does no harm."""

import os
import time
from pathlib import Path

import pytest

from codekin.settings import RemoteSettings, Settings, load_settings


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    monkeypatch.setenv("CODEKIN_CONFIG_DIR", str(folder))
    return folder


def test_without_files_the_defaults_hold(tmp_path):
    """Without settings files, the defaults apply."""
    assert load_settings(tmp_path, tmp_path, {}) == (Settings(), ())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[similar]\nlimit = 'ten'", "`similar.limit`"),
        ("[similar]\nlimit = true", "`similar.limit`"),
        ("[similar]\nlimit = 0", "`similar.limit`"),
        ("[similar]\nlimt = 3", "`similar.limt`"),
        ("[similer]\nlimit = 3", "`similer`"),
        ("similar = 3", "`similar`"),
        ("[index]\nignore = 'x'", "`index.ignore`"),
        ("[index]\nignore = [1]", "`index.ignore`"),
        ("[models]\ndevice = 'gpu'", "`models.device`"),
        ("[models]\ndir = 'relative/folder'", "`models.dir`"),
        ("[models.remote]\nurl = 5", "`models.remote.url`"),
        ("[models]\ncatalogue = {x = 1}", "`models.catalogue`"),
        ("[index]\nextensions = {tpp = 'cpp'}", "`index.extensions`"),
        ("[index]\nextensions = {'.tpp' = 'cobol'}", "`index.extensions`"),
        ("[finetune]\nlearning_rate = nan", "`finetune.learning_rate`"),
        ("[completion]\nenabled = 1", "`completion.enabled`"),
    ],
)
def test_a_wrong_key_is_named_and_the_rest_works(config, text, named):
    """A wrong key is reported by name, and all other settings apply."""
    (config / "settings.toml").write_text(f"{text}\n[daemon]\nidle_minutes = 3\n")
    settings, problems = load_settings()
    assert [named in problem for problem in problems] == [True]
    assert settings == Settings(daemon=type(settings.daemon)(idle_minutes=3.0))


@pytest.mark.parametrize("content", [b"[similar\n", b"\xff\xfe", b"a" * 1_000_001, b"x = " + b"[" * 5000])
def test_a_file_that_is_no_toml_is_named(config, content):
    """A file that is not TOML is reported by name."""
    (config / "settings.toml").write_bytes(content)
    settings, problems = load_settings()
    assert settings == Settings()
    assert len(problems) == 1
    assert "settings.toml" in problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "[models]\nembedder = '/tmp/model'",
        "[models]\nembedder = 'jina_v3'",
        "[models]\ndir = '/tmp'",
        "[models.remote]\nurl = 'http://example.org'",
        "[completion]\nmodel = 'starcoder_1b'",
        "[finetune]\ncron = '* * * * *'",
        "[daemon]\nloopback_port = 8000",
    ],
)
def test_a_repository_chooses_no_model_path_or_url(tmp_path, text):
    """A repository cannot choose a model, a path or a URL."""
    (tmp_path / ".codekin.toml").write_text(text)
    settings, problems = load_settings(None, tmp_path)
    assert settings == Settings()
    assert len(problems) == 1


def test_a_repository_may_set_patterns_and_switches(tmp_path):
    """A repository may set patterns and switches."""
    (tmp_path / ".codekin.toml").write_text("[index]\nignore = ['gen/']\n[similar]\nlens = false\n")
    settings, problems = load_settings(None, tmp_path)
    assert problems == ()
    assert (settings.index.ignore, settings.similar.lens) == (("gen/",), False)


def test_the_editor_wins_over_the_files(config, tmp_path):
    """The editor's settings override those of the files."""
    (config / "settings.toml").write_text("[similar]\nlimit = 3\nmin_score = 0.5\n")
    (tmp_path / ".codekin.toml").write_text("[similar]\nlimit = 4\n")
    settings, problems = load_settings(None, tmp_path, {"codekin": {"similar": {"limit": 5}, "server": {"path": "x"}}})
    assert problems == ()
    assert (settings.similar.limit, settings.similar.min_score) == (5, 0.5)


@pytest.mark.parametrize("name", ["../../weights", "/tmp/x", "http://host/x", "//host/share", "a\\b", ""])
def test_the_editor_names_models_by_their_key_alone(name):
    """The editor names models by catalogue key, never by path or URL."""
    settings, problems = load_settings(None, None, {"models": {"embedder": name}})
    assert settings.models.embedder == "auto"
    assert len(problems) == 1


@pytest.mark.parametrize("name", ["../../weights", "/tmp/x", "http://host/x", ""])
def test_the_editor_names_the_model_that_completes_by_its_key(name):
    """A workspace's editor settings choose among the models of the catalogue, not among files and hosts."""
    settings, problems = load_settings(None, None, {"completion": {"model": name}})
    assert (settings.completion.model, len(problems)) == ("auto", 1)
    assert load_settings(None, None, {"completion": {"model": "qwen_1.5b"}})[0].completion.model == "qwen_1.5b"


@pytest.mark.parametrize("section", [{"daemon": {"idle_minutes": 1}}, {"models": {"device": "cpu"}}])
def test_what_all_windows_share_is_set_in_the_users_file(section):
    """A window's settings of the shared daemon are ignored, with a problem that says so."""
    settings, problems = load_settings(None, None, section)
    assert settings == Settings()
    assert ["can only be set in your own settings file" in problem for problem in problems] == [True]


def test_the_user_may_name_a_folder_and_a_server(config):
    """The user's own settings may name a folder or a server."""
    (config / "settings.toml").write_text("[models]\nembedder = '/opt/m'\n[models.remote]\nurl = 'http://h'\n")
    settings, problems = load_settings()
    assert problems == ()
    assert (settings.models.embedder, settings.models.remote) == ("/opt/m", RemoteSettings(url="http://h"))


@pytest.mark.parametrize("overrides", [{"codekin": 3}, {"codekin": None}, {"similar": {"limit": None}}])
def test_odd_editor_settings_change_nothing(overrides):
    """Editor settings of a wrong type change nothing."""
    assert load_settings(None, None, overrides)[0] == Settings()


SAMPLES = {
    "unknown keys": "".join(f"k{i}=1\n" for i in range(80_000)),
    "unknown keys in 60 kB": "".join(f"k{i}=1\n" for i in range(1900)),
    "a long key": '"' + "x" * 60_000 + '"=1\n',
    "a dotted key": "a" + ".a" * 20_000 + "=1\n",
    "a long dotted key": "a" + ".a" * 100_000 + "=1\n",
    "a deep header": "[a" + ".a" * 20_000 + "]\n",
    "a deep value": "[similar]\nlens" + ".a" * 2000 + " = 1\n",
    "a deep value within the bound": "[similar]\nlens" + ".a" * 14 + " = 1\n",
    "deep arrays": "[index]\nignore=" + "[" * 5000 + "]" * 5000 + "\n",
    "arrays": "[index]\nignore=" + "[" * 15 + "]" * 15 + "\n",
    "many patterns": "[completion]\nignore=[" + ",".join(f'"p{i}"' for i in range(100_000)) + "]\n",
    "patterns in 60 kB": "[completion]\nignore=[" + ",".join(f'"p{i}"' for i in range(6000)) + "]\n",
    "a long pattern": f"[index]\nignore=['{'a*' * 20_000}']\n",
    "a large number": "[similar]\nlimit=0x" + "f" * 60_000 + "\n",
    "a date": "[similar]\nlimit=1979-05-27\n",
    "many tables": "".join(f"[t{i}]\n" for i in range(9000)),
    "an array of tables": "[[index]]\n" * 6000,
    "open quotes": '"' * 65_000,
    "open long strings": '\\"""' * 16_000,
    "backslashes": 'a="""' + "\\\n" * 30_000 + '"""\n',
    "carriage returns": "\r" * 65_000,
    "inline tables": "a={" + ",".join(f"b{i}={{c={i}}}" for i in range(5000)) + "}\n",
    "control characters": '"\\u001b]0;title\\u0007\\u202eexe"=1\n',
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_hostile_file_costs_milliseconds_and_a_few_sentences(tmp_path, name):
    """Whatever a repository's file holds, it is read within half a second, with a few printable lines of problems."""
    (tmp_path / ".codekin.toml").write_text(SAMPLES[name])
    began = time.process_time()
    settings, problems = load_settings(None, tmp_path)
    assert time.process_time() - began < 0.5
    assert settings == Settings()
    assert 1 <= len(problems) <= 11
    assert all(problem.isprintable() and len(problem) < 700 for problem in problems)


def test_patterns_with_dots_and_brackets_are_no_depth(tmp_path):
    """Only keys and values count as levels: strings and comments may hold any number of dots and brackets."""
    patterns = [f"*.{'x.' * 20}[{n}]{{[(" for n in range(50)]
    (tmp_path / ".codekin.toml").write_text(f"# {'.' * 99}\n[index]\nignore = {patterns!r}\n")
    settings, problems = load_settings(None, tmp_path)
    assert (problems, settings.index.ignore) == ((), tuple(patterns))


def test_the_editors_settings_are_bounded_too():
    """Thousands of unknown keys in an editor's settings are summarised in a few sentences."""
    began = time.process_time()
    _, problems = load_settings(None, None, {"similar": {f"key{n}": n for n in range(80_000)}})
    assert time.process_time() - began < 1
    assert len(problems) == 11
    assert "79990 more" in problems[-1]


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_settings_file_must_be_a_regular_file(tmp_path, make):
    """A pipe, a folder or a link in place of the repository's file is named, and never waited for."""
    make(tmp_path / ".codekin.toml")
    settings, problems = load_settings(None, tmp_path)
    assert settings == Settings()
    assert [".codekin.toml is not a regular file" in problem for problem in problems] == [True]


def test_the_users_own_file_may_be_a_link(config, tmp_path):
    """Dotfile managers put links in the place of settings.toml."""
    (tmp_path / "dotfiles.toml").write_text("[similar]\nlimit = 7\n")
    (config / "settings.toml").symlink_to(tmp_path / "dotfiles.toml")
    assert load_settings()[0].similar.limit == 7


def test_a_whole_number_may_be_written_with_a_fraction_of_zero():
    """Lua and JSON know one kind of number: 20.0 is a limit as good as 20."""
    settings, problems = load_settings(None, None, {"similar": {"limit": 20.0}})
    assert (problems, repr(settings.similar.limit)) == ((), "20")


def test_a_wrong_value_is_one_sentence_with_what_is_right(config):
    """The sentence names the file, the key, what it takes, what it was given and what stays in force."""
    (config / "settings.toml").write_text("[similar]\nlimit = 'ten'\n")
    wanted = "`similar.limit` must be a whole number between 1 and 200, not 'ten'; it stays 10."
    assert load_settings()[1] == (f"{config / 'settings.toml'}: {wanted}",)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("true", "true"), ("1979-05-27", "1979-05-27"), ("[1]", "a list"), ("{a = 1}", "a table"), ("[]", "empty")],
)
def test_a_wrong_value_is_shown_as_toml_has_it(config, text, shown):
    """A sentence names no Python object."""
    (config / "settings.toml").write_text(f"[similar]\nlimit = {text}\n")
    assert f", not {shown}; it stays 10." in load_settings()[1][0]


def test_a_byte_order_mark_is_no_fault(config):
    """A byte-order mark at the start of a file is ignored."""
    (config / "settings.toml").write_bytes(b"\xef\xbb\xbf[similar]\nlimit = 3\n")
    assert load_settings()[0].similar.limit == 3
