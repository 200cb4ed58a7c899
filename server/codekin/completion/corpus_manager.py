"""Keeps a workspace's corpus up to date: built in a child process, then updated with files and unsaved buffers.

Every method may be called from any thread. `corpus` is a snapshot; before the first build it is empty.

The child is this module: `python -m codekin.completion.corpus_manager`. Tokenizing 100,000 lines holds the interpreter
for about a second, which the daemon cannot spare. It reads one line of JSON, {"root", "folder", "hashes"} with content
hashes by path, and writes one in reply; it exits when its input ends, and so with its parent.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from codekin.completion.corpus_snapshot import Corpus, build_corpus, load_corpus, save_corpus
from codekin.parsing.secrets import contains_secret, is_secret_name
from codekin.util.files import read_file_below

log = logging.getLogger(__name__)

MAX_CHANGED_FILES = 300
"""Files that changed since the build and are read here; more of them start a build."""

BUILD_SECONDS = 900


class CorpusManager:
    """The corpus of one workspace; `folder` is where it is kept."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        self._lock = threading.Lock()
        self._corpus = build_corpus(())
        self._hashes: dict[str, str] = {}
        self._buffers: dict[str, str] = {}
        self._builder: subprocess.Popen[str] | None = None
        self._is_loaded = False
        self.problem = ""
        self.builds = 0
        """How often the base was replaced: answers from before are out of date."""

    @property
    def corpus(self) -> Corpus:
        """What is known now."""
        return self._corpus

    def sync(self, hashes: Mapping[str, str]) -> None:
        """Takes in the files that there are, by content hash; may take a minute the first time."""
        with self._lock:
            if not self._is_loaded:
                self._load()
            changed = {path for path, digest in hashes.items() if self._hashes.get(path) != digest}
            gone = self._hashes.keys() - hashes.keys()
            if len(changed) + len(gone) > MAX_CHANGED_FILES or self._corpus.needs_rebuild or not self._is_loaded:
                self._build(hashes)
                return
            texts = {path: read_indexed_text(self._root, path, hashes[path]) for path in changed} | dict.fromkeys(gone)
            self._apply_texts(texts, above=self._buffers)
            self._hashes.update((path, hashes[path]) for path in changed)
            for path in gone:
                del self._hashes[path]

    def has_overlay(self, buffers: Mapping[str, str], ignored_path: str) -> bool:
        """Whether unsaved texts are known, but for one path."""
        known, buffers = self._buffers, _without_secrets(buffers)
        return all(known.get(path) == buffers.get(path) for path in {*known, *buffers} - {ignored_path})

    def overlay_if_idle(self, buffers: Mapping[str, str]) -> None:
        """Takes in unsaved texts unless a build is under way."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            self.overlay_buffers(buffers)

    def overlay_buffers(self, buffers: Mapping[str, str]) -> None:
        """Takes in unsaved texts without secrets; behind one that is gone the file counts again, if it is indexed."""
        buffers = _without_secrets(buffers)
        with self._lock:
            new = {path: text for path, text in buffers.items() if self._buffers.get(path) != text}
            closed = self._buffers.keys() - buffers.keys()
            gone = {path: read_indexed_text(self._root, path, self._hashes.get(path, "")) for path in closed}
            self._apply_texts(new | gone, above={})
            self._buffers = dict(buffers)

    def close(self) -> None:
        """Ends a build that is under way."""
        if self._builder:
            self._builder.kill()

    def _apply_texts(self, texts: Mapping[str, str | None], above: Mapping[str, str]) -> None:
        """Puts texts in place of the files at their paths, None for none; those `above` stay as they are."""
        corpus = self._corpus
        for path, text in texts.items():
            if path not in above:
                corpus = corpus.with_file(path, text)
        if corpus is not self._corpus:
            # Built here, so that the next request does not wait for it.
            self._corpus = corpus.preload()

    def _load(self) -> bool:
        stored = load_corpus(self._folder)
        if stored is None:
            return False
        corpus = stored.corpus
        for path, text in self._buffers.items():
            corpus = corpus.with_file(path, text)
        self._corpus, self._hashes, self._is_loaded = corpus.preload(), dict(stored.hashes), True
        self.builds += 1
        return True

    def _build(self, hashes: Mapping[str, str]) -> None:
        job = {"root": str(self._root), "folder": str(self._folder), "hashes": dict(hashes)}
        command = [sys.executable, "-P", "-m", "codekin.completion.corpus_manager"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8") as builder:
            self._builder = builder
            timer = threading.Timer(BUILD_SECONDS, builder.kill)
            timer.start()
            try:
                self._run_job(builder, job)
            finally:
                timer.cancel()
                self._builder = None

    def _run_job(self, builder: "subprocess.Popen[str]", job: Mapping[str, object]) -> None:
        """Sends the order and waits for the answer; its pipe stays open meanwhile, so that the child lives."""
        if builder.stdin is None or builder.stdout is None:
            raise RuntimeError("A child started with pipes has them.")
        try:
            builder.stdin.write(json.dumps(job) + "\n")
            builder.stdin.flush()
            answer = builder.stdout.readline()
        except BrokenPipeError:
            answer = ""
        self.problem = ""
        if not answer or not self._load():
            self.problem = "The repository model could not be built; see the daemon's log."
            log.error("Building the repository model of %s failed.", self._root)


MAX_FILE_BYTES = 4 << 20


def main() -> None:
    """Reads one order and carries it out."""
    with contextlib.suppress(OSError):
        os.nice(19)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    corpus = build_corpus(read_texts(Path(job["root"]), job["hashes"]))
    save_corpus(corpus, job["hashes"], Path(job["folder"]))
    sys.stdout.write(json.dumps({"files": len(corpus.base.paths), "tokens": len(corpus.base.tokens)}) + "\n")


def read_texts(root: Path, hashes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The texts of files that are as they were indexed, with their paths."""
    for path, digest in hashes.items():
        text = read_indexed_text(root, path, digest)
        if text is not None:
            yield path, text


def read_indexed_text(root: Path, path: str, digest: str) -> str | None:
    """The text of a file of fair size below the root whose bytes have this SHA-256 (hex); None for all else.

    The index found such bytes fit to be read; a file that changed since is read when it is indexed anew. A digest with
    a colon marks a change that the index has not seen yet: such a text is read unless it holds a secret.
    """
    data = read_file_below(root, path, MAX_FILE_BYTES)
    if data is None or (":" not in digest and sha256(data).hexdigest() != digest):
        return None
    text = data.decode("utf-8", "replace")
    return None if ":" in digest and contains_secret(text) else text


def _without_secrets(buffers: Mapping[str, str]) -> dict[str, str]:
    """The unsaved texts that may be offered in other files."""
    return {path: text for path, text in buffers.items() if not _is_secret(path.rpartition("/")[2], text)}


@lru_cache(maxsize=256)
def _is_secret(name: str, text: str) -> bool:
    return is_secret_name(name) or contains_secret(text)


def _exit_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
