"""A workspace's corpus as the daemon holds it: built beside, loaded when ready, kept up with files and buffers.

Every method may be called from any thread. `corpus` is a snapshot; before the first build it is empty, and the
document at hand is all there is.
"""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from codekin.completion.build import read_text
from codekin.completion.corpus import Corpus, corpus_of
from codekin.completion.store import load

log = logging.getLogger(__name__)

MOST_READ = 300
"""Files that changed since the build and are read here; more of them ask for a build."""

BUILD_SECONDS = 900


class Shelf:
    """The corpus of one workspace; `folder` is where it is kept."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        self._lock = threading.Lock()
        self._corpus = corpus_of(())
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

    def follow(self, hashes: Mapping[str, str]) -> None:
        """Takes in the files that there are, by content hash; may take a minute the first time."""
        with self._lock:
            if not self._is_loaded:
                self._load()
            changed = {path for path, digest in hashes.items() if self._hashes.get(path) != digest}
            gone = self._hashes.keys() - hashes.keys()
            if len(changed) + len(gone) > MOST_READ or self._corpus.is_worn or not self._is_loaded:
                self._build(hashes)
                return
            texts = {path: read_text(self._root / path) for path in changed} | dict.fromkeys(gone)
            self._take(texts, above=self._buffers)
            self._hashes.update((path, hashes[path]) for path in changed)
            for path in gone:
                del self._hashes[path]

    def has_laid(self, buffers: Mapping[str, str], besides: str) -> bool:
        """Whether unsaved texts are known, but for one path."""
        laid = self._buffers
        return all(laid.get(path) == buffers.get(path) for path in {*laid, *buffers} - {besides})

    def lay_at_once(self, buffers: Mapping[str, str]) -> None:
        """Takes in unsaved texts unless a build is under way."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            self.lay(buffers)

    def lay(self, buffers: Mapping[str, str]) -> None:
        """Takes in unsaved texts; a buffer that is gone leaves the file on the disk."""
        with self._lock:
            new = {path: text for path, text in buffers.items() if self._buffers.get(path) != text}
            gone = {path: read_text(self._root / path) for path in self._buffers.keys() - buffers.keys()}
            self._take(new | gone, above={})
            self._buffers = dict(buffers)

    def close(self) -> None:
        """Ends a build that is under way."""
        if self._builder:
            self._builder.kill()

    def _take(self, texts: Mapping[str, str | None], above: Mapping[str, str]) -> None:
        """Puts texts in place of the files at their paths, None for none; those `above` stay as they are."""
        corpus = self._corpus
        for path, text in texts.items():
            if path not in above:
                corpus = corpus.with_file(path, text)
        if corpus is not self._corpus:
            # Who asks next shall not wait for what can be made here.
            self._corpus = corpus.warmed()

    def _load(self) -> bool:
        stored = load(self._folder)
        if stored is None:
            return False
        corpus = stored.corpus
        for path, text in self._buffers.items():
            corpus = corpus.with_file(path, text)
        self._corpus, self._hashes, self._is_loaded = corpus.warmed(), dict(stored.hashes), True
        self.builds += 1
        return True

    def _build(self, hashes: Mapping[str, str]) -> None:
        order = {"root": str(self._root), "folder": str(self._folder), "hashes": dict(hashes)}
        command = [sys.executable, "-P", "-m", "codekin.completion.build"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8") as builder:
            self._builder = builder
            timer = threading.Timer(BUILD_SECONDS, builder.kill)
            timer.start()
            try:
                self._order(builder, order)
            finally:
                timer.cancel()
                self._builder = None

    def _order(self, builder: "subprocess.Popen[str]", order: Mapping[str, object]) -> None:
        """Sends the order and waits for the answer; its pipe stays open meanwhile, so that the child lives."""
        if builder.stdin is None or builder.stdout is None:
            raise RuntimeError("A child started with pipes has them.")
        try:
            builder.stdin.write(json.dumps(order) + "\n")
            builder.stdin.flush()
            answer = builder.stdout.readline()
        except BrokenPipeError:
            answer = ""
        self.problem = ""
        if not answer or not self._load():
            self.problem = "The repository model could not be built; see the daemon's log."
            log.error("Building the repository model of %s failed.", self._root)
