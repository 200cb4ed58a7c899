"""Settings: wrong keys and types are named, the rest works, a repository may set only what does no harm."""

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
    """Nothing set would not mean the defaults."""
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
        ("[learning]\nlearning_rate = nan", "`learning.learning_rate`"),
        ("[completion]\nenabled = 1", "`completion.enabled`"),
    ],
)
def test_a_wrong_key_is_named_and_the_rest_works(config, text, named):
    """One slip in the file would lose all settings, or be silent."""
    (config / "settings.toml").write_text(f"{text}\n[daemon]\nidle_minutes = 3\n")
    settings, problems = load_settings()
    assert [named in problem for problem in problems] == [True]
    assert settings == Settings(daemon=type(settings.daemon)(idle_minutes=3.0))


@pytest.mark.parametrize("content", [b"[similar\n", b"\xff\xfe", b"a" * 1_000_001, b"x = " + b"[" * 5000])
def test_a_file_that_is_no_toml_is_named(config, content):
    """A broken file would stop the program, or be taken for an empty one."""
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
        "[learning]\ncron = '* * * * *'",
        "[daemon]\nloopback_port = 8000",
    ],
)
def test_a_repository_chooses_no_model_path_or_url(tmp_path, text):
    """Opening somebody's repository would run what it says."""
    (tmp_path / ".codekin.toml").write_text(text)
    settings, problems = load_settings(None, tmp_path)
    assert settings == Settings()
    assert len(problems) == 1


def test_a_repository_may_set_patterns_and_switches(tmp_path):
    """A team could not share what to leave out."""
    (tmp_path / ".codekin.toml").write_text("[index]\nignore = ['gen/']\n[similar]\nlens = false\n")
    settings, problems = load_settings(None, tmp_path)
    assert problems == ()
    assert (settings.index.ignore, settings.similar.lens) == (("gen/",), False)


def test_the_editor_wins_over_the_files(config, tmp_path):
    """A window's own settings would have no effect."""
    (config / "settings.toml").write_text("[similar]\nlimit = 3\nmin_score = 0.5\n")
    (tmp_path / ".codekin.toml").write_text("[similar]\nlimit = 4\n")
    settings, problems = load_settings(None, tmp_path, {"codekin": {"similar": {"limit": 5}, "server": {"path": "x"}}})
    assert problems == ()
    assert (settings.similar.limit, settings.similar.min_score) == (5, 0.5)


@pytest.mark.parametrize("name", ["../../weights", "/tmp/x", "http://host/x", "//host/share", "a\\b", ""])
def test_the_editor_names_models_by_their_key_alone(name):
    """A workspace's editor settings could point at a file or a host."""
    settings, problems = load_settings(None, None, {"models": {"embedder": name}})
    assert settings.models.embedder == "auto"
    assert len(problems) == 1


def test_the_user_may_name_a_folder_and_a_server(config):
    """The user's own choice would be refused."""
    (config / "settings.toml").write_text("[models]\nembedder = '/opt/m'\n[models.remote]\nurl = 'http://h'\n")
    settings, problems = load_settings()
    assert problems == ()
    assert (settings.models.embedder, settings.models.remote) == ("/opt/m", RemoteSettings(url="http://h"))


@pytest.mark.parametrize("overrides", [{"codekin": 3}, {"codekin": None}, {"similar": {"limit": None}}])
def test_odd_editor_settings_change_nothing(overrides):
    """A client that sends null or a number would break the server."""
    assert load_settings(None, None, overrides)[0] == Settings()
