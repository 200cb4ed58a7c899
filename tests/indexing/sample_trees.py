"""A workspace of a few files that is changed while it is indexed."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from indexer_driver import Driven, fresh_contents

SETTLED = 1_600_000_000
GAMMA = """int gamma(int x) {
  int total = 0;
  for (int step = 0; step < x; ++step) {
    total += step * other(total, x);
  }
  return total;
}
"""


@dataclass
class Place:
    """A workspace and the folder of its index."""

    root: Path
    folder: Path

    def write(self, path: str, text: str, when: int = SETTLED) -> None:
        """Writes a file whose time stamp is old enough to be trusted."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        os.utime(target, (when, when))

    def start(self) -> Driven:
        """A started indexer that has come to rest."""
        driven = Driven(self.root, self.folder)
        driven.settle()
        return driven

    def fresh(self) -> dict[str, tuple[object, ...]]:
        """What an index built anew would hold."""
        shutil.rmtree(self.folder.with_name("fresh"), ignore_errors=True)
        return fresh_contents(self.root, self.folder.with_name("fresh"))


def module(name: str, function: str) -> str:
    return f"defmodule {name} do\n  def {function}(x) do\n    Enum.map(x, &{function}_one/1)\n  end\nend\n"


def names(driven: Driven) -> set[str]:
    return {chunk.name for path in driven.index.files() for chunk in driven.index.chunks(path)}
