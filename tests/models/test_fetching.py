"""Pulling models from a hub on the loopback, and every way that can fail."""

import errno
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_checkpoints
from hub_server import COMMIT, Hub, files_of, serving

from codekin.errors import CheckpointError, ModelError
from codekin.models import fetching
from codekin.models.catalogue import ModelSpec, find_model, load_catalogue
from codekin.models.embedding.pretrained import load_pretrained

MODEL = replace(
    load_catalogue()["qodo"], hub_id="owner/model", revision="main", download_bytes=0, dimensions=32, end_id=0
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_checkpoints.embedder(folder, "qwen2")
    return {**files_of(folder), "pytorch_model.bin": b"pickle", "modeling_evil.py": b"evil", "README.md": b"# hi"}


@pytest.fixture
def hub(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serving(Hub(dict(files))) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_a_pulled_model_is_found_and_runs(hub: Hub, tmp_path: Path) -> None:
    """A pull fetches weights and tokenizer, no pickle or code, and is found again offline."""
    seen: list[tuple[int, int]] = []
    assert fetching.locate_model(MODEL, tmp_path) is None
    folder = fetching.pull_model(MODEL, tmp_path, lambda done, whole: seen.append((done, whole)))
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not names & {"pytorch_model.bin", "modeling_evil.py", "README.md"}
    assert seen[-1][0] == seen[-1][1] > 0
    hub.fail = 500
    assert fetching.locate_model(MODEL, tmp_path) == folder
    assert load_pretrained(MODEL, folder, dtype="float32").embed(["x"]).shape == (1, 32)


def test_a_named_revision_is_pinned_by_the_first_pull(hub: Hub, tmp_path: Path) -> None:
    """Later pulls use the commit that the first pull resolved."""
    fetching.pull_model(MODEL, tmp_path)
    hub.requests.clear()
    fetching.pull_model(MODEL, tmp_path)
    assert all(COMMIT in path for path in hub.requests if "/resolve/" in path or "/revision/" in path)


FAILURES = {403: "is gated: accept its licence", 404: "has no owner/model", 500: "answered with status 500"}


@pytest.mark.parametrize("status", FAILURES)
def test_a_hub_that_refuses_is_a_sentence(hub: Hub, tmp_path: Path, status: int) -> None:
    """A refusal by the hub is one sentence."""
    hub.fail = status
    with pytest.raises(ModelError, match=FAILURES[status]):
        fetching.pull_model(MODEL, tmp_path)


def test_a_damaged_download_is_removed(hub: Hub, tmp_path: Path) -> None:
    """A file whose hash differs is deleted."""
    hub.damage = True
    with pytest.raises(CheckpointError, match="damaged"):
        fetching.pull_model(MODEL, tmp_path)
    assert fetching.locate_model(MODEL, tmp_path) is None
    hub.damage = False
    assert fetching.pull_model(MODEL, tmp_path).is_dir()


@pytest.mark.parametrize("kind", ["cache", "folder"])
def test_weights_that_were_damaged_since_are_refused(hub: Hub, tmp_path: Path, kind: str) -> None:
    """Weights that changed on the disk are refused."""
    folder = fetching.pull_model(MODEL, tmp_path)
    if kind == "folder":
        digest = (folder / "model.safetensors").resolve().name
        shutil.copytree(folder, tmp_path / "mine")
        note = tmp_path / "mine" / ".cache" / "huggingface" / "download" / "model.safetensors.metadata"
        note.parent.mkdir(parents=True)
        note.write_text(f"{COMMIT}\n{digest}\n1700000000.0\n")
        folder = tmp_path / "mine"
    load_pretrained(MODEL, folder, dtype="float32")
    weights = (folder / "model.safetensors").resolve()
    content = bytearray(weights.read_bytes())
    content[-7] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="checksum"):
        load_pretrained(MODEL, folder, dtype="float32")


def test_a_broken_connection_is_resumed(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download resumes after a lost connection."""
    hub.stop_after = 5000
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # the library keeps whole chunks
    folder = fetching.pull_model(MODEL, tmp_path)
    assert hub.ranges
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_no_network_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a network a pull ends at once with one sentence, without the library's retries."""
    began = time.monotonic()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        with pytest.raises(ModelError, match="cannot be reached"):
            fetching.pull_model(MODEL, tmp_path)
    assert caplog.records == []
    assert time.monotonic() - began < 5


def test_offline_by_choice_sends_no_request(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE keeps a pull from the network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        fetching.pull_model(MODEL, tmp_path)
    assert hub.requests == []


def test_the_token_is_sent(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub token is sent with each request, so that gated models can be pulled."""
    sent = []
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    original = fetching.snapshot_download
    monkeypatch.setattr(fetching, "snapshot_download", lambda *a, **k: (sent.append(k["token"]), original(*a, **k))[1])
    fetching.pull_model(MODEL, tmp_path)
    assert sent == ["hf_secret"]


def test_too_small_a_disk_is_reported_before_the_download(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The free space is checked before the download."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(ModelError, match="no room"):
        fetching.pull_model(replace(MODEL, download_bytes=10_000), tmp_path)
    assert hub.requests == []


def test_a_disk_that_fills_up_is_a_sentence(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is one sentence."""

    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetching, "snapshot_download", full)
    with pytest.raises(ModelError, match="the disk is full"):
        fetching.pull_model(MODEL, tmp_path)


def test_an_interrupted_download_says_how_to_go_on(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C ends with a sentence that says how to resume."""

    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "snapshot_download", interrupted)
        with pytest.raises(ModelError, match="go on where it stopped"):
            fetching.pull_model(MODEL, tmp_path)
    assert fetching.pull_model(MODEL, tmp_path).is_dir()


def test_removing_frees_what_was_pulled(hub: Hub, tmp_path: Path) -> None:
    """A pulled model is removed; removing it again raises one sentence."""
    fetching.pull_model(MODEL, tmp_path)
    assert fetching.remove_model(MODEL, tmp_path) > 10_000
    assert fetching.locate_model(MODEL, tmp_path) is None
    with pytest.raises(ModelError, match="nothing to remove"):
        fetching.remove_model(MODEL, tmp_path)


@pytest.mark.parametrize("key", ["codekin_embed", "folder"])
def test_what_is_here_is_not_pulled(tmp_path: Path, key: str) -> None:
    """A model that is on this machine is not pulled."""
    model: ModelSpec = (
        load_catalogue()["codekin_embed"] if key == "codekin_embed" else replace(MODEL, hub_id=str(tmp_path))
    )
    with pytest.raises(ModelError, match="nothing to pull"):
        fetching.pull_model(model, tmp_path)


def test_looking_for_models_loads_no_torch() -> None:
    """Locating models does not import torch."""
    code = "import sys, codekin.models.fetching; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_gguf_file_is_pulled_by_its_quantisation(hub: Hub, tmp_path: Path) -> None:
    """The file of the wanted quantisation alone comes, is checked and found; a missing one is named."""
    file = tiny_checkpoints.gguf_generator(tmp_path / "tiny", "tiny-Q8_0.gguf")
    hub.files = {"tiny-Q8_0.gguf": file.read_bytes(), "tiny-Q4_K_M.gguf": b"other", "model.safetensors": b"x"}
    model = find_model("owner/model:Q8_0")
    path = fetching.pull_model(model, tmp_path / "cache")
    assert [one.name for one in path.iterdir()] == ["tiny-Q8_0.gguf"]
    found = fetching.locate_model(model, tmp_path / "cache")
    assert found is not None
    assert found.read_bytes() == file.read_bytes()
    assert fetching.describe_model(model, tmp_path / "cache").layers == 2
    with pytest.raises(ModelError, match=r"offers tiny-Q8_0\.gguf"):
        fetching.pull_model(find_model("owner/model:Q2_K"), tmp_path / "cache")


def test_a_damaged_gguf_file_is_removed(hub: Hub, tmp_path: Path) -> None:
    """A file that is not what the hub's SHA-256 says does not stay."""
    hub.files, hub.damage = {"m-q4_k_m.gguf": b"GGUF" + bytes(5000)}, True
    with pytest.raises(CheckpointError, match="damaged"):
        fetching.pull_model(find_model("owner/model"), tmp_path)
    assert fetching.locate_model(find_model("owner/model"), tmp_path) is None
