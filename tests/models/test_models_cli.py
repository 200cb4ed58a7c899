"""`codekin models …` as a user types it, and what wrong use answers."""

import json
from pathlib import Path

import pytest

from codekin.cli.app import run


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEKIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CODEKIN_CONFIG_DIR", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings.toml").write_text(f"[models]\ndir = '{tmp_path / 'models'}'\n")


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(arguments) == status
    return capsys.readouterr().out


def test_models_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The catalogue and a model are printed as a table and as JSON."""
    rows = {row["key"]: row for row in json.loads(answer(capsys, "models", "list", "--json"))}
    assert rows["codekin_embed"]["here"]
    assert not rows["qodo"]["here"]
    shown = json.loads(answer(capsys, "models", "show", "jina_v3", "--json"))
    assert shown["forbids"] == "commercial use"
    assert shown["bytes"]["bfloat16"] > 1 << 30
    assert "gated        yes" in answer(capsys, "models", "show", "starcoder_1b")


def test_what_fits_is_printed_with_its_arithmetic(capsys: pytest.CaptureFixture[str]) -> None:
    """The plan is printed with its arithmetic."""
    text = answer(capsys, "models", "plan", "codellama_7b", "qodo", "--memory", "16GB", status=1)
    assert "codellama_7b in bfloat16: weights 12.55 GB + cache of 4096 tokens 2.00 GB" in text
    assert "do not fit into 16.00 GB" in text
    assert "int8" in text
    plan = json.loads(answer(capsys, "models", "plan", "starcoder_1b", "--memory", "16GB", "--json"))
    assert plan["fits"]
    assert plan["models"][0]["total"] < plan["total"]


@pytest.mark.parametrize(("purpose", "key"), [("production", "codellama_7b"), ("dev", "starcoder_1b")])
def test_a_model_is_recommended(capsys: pytest.CaptureFixture[str], purpose: str, key: str) -> None:
    """Each purpose has its model and a reason."""
    found = json.loads(answer(capsys, "models", "recommend", purpose, "--json"))
    assert found["model"] == key
    assert found["reason"]


WRONG = {
    ("models", "show", "quodo"): "did you mean qodo?",
    ("models", "show", "../../etc"): "There is no model '../../etc'",
    ("models", "pull", "http://evil/model"): "There is no model",
    ("models", "pull", "codekin_embed"): "nothing to pull",
    ("models", "remove", "qodo"): "nothing to remove",
    ("models", "plan", "qodo", "--memory", "much"): "write 16GB",
    ("models", "plan", "qodo", "--dtype", "int3"): "There is no dtype 'int3'",
    ("models", "recommend", "fun"): "production or dev",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_use_is_one_sentence(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """Wrong usage prints one sentence and exits with status 2."""
    assert run(arguments) == 2
    message = capsys.readouterr().err
    assert WRONG[arguments] in message
    assert message.count("\n") == 1


def test_a_pull_while_offline_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With HF_HUB_OFFLINE set, `models pull` fails at once with one sentence."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run(["models", "pull", "starcoder_1b"]) == 2
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err
