"""What the workspace's functions were before they were edited, as git remembers it.

Of a file's former contents a fixed sample is read, that changes little from night to night; of a function's texts in it
the oldest counts, which says the same in the most different words. Knows git's answers and texts; nothing of training.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from codekin.learning import git
from codekin.learning.pieces import KINDS, LANGUAGES, Known, Piece, other_code
from codekin.syntax import LANGUAGES as SYNTAX
from codekin.syntax import fragments
from codekin.syntax.secrets import holds_secret

CONTENTS_OF_FILE = 4
MOST_CONTENTS = 4000
"""Former contents that are read of one file, and of all."""

CACHE = "past.json"


def earlier_texts(root: Path, folder: Path, pieces: Sequence[Piece], revision: str = "HEAD") -> dict[Known, str]:
    """An earlier text of each piece that says something else than today's; none where there is no history.

    It is kept in `folder` until another commit, or other files, are asked about.
    """
    commit = git.commit_of(root, revision)
    paths = {piece.fragment.path for piece in pieces}
    key = sha256("\0".join([commit, *sorted(paths)]).encode("utf-8", "surrogatepass")).hexdigest()
    found = _kept(folder / CACHE, key) if commit else {}
    if found is None:
        found = _read(root, commit, paths)
        _keep(folder / CACHE, key, found)
    return {piece.known: found[piece.known] for piece in pieces if other_code(piece, found.get(piece.known, ""))}


def _read(root: Path, commit: str, paths: Iterable[str]) -> dict[Known, str]:
    """The oldest text of each function among the sampled contents of these files."""
    patterns = sorted({f"*{end}" for name in LANGUAGES for end in SYNTAX[name].extensions})
    wanted = _sampled(git.edits(root, commit, patterns), frozenset(paths))
    former = git.contents(root, dict.fromkeys(blob for _, blob in wanted))
    found: dict[Known, str] = {}
    for path, blob in wanted:  # the latest first, so that the oldest stays
        if blob in former:
            found |= _functions(path, former[blob].decode("utf-8", "replace"))
    return found


def _sampled(edits: Iterable[tuple[str, str]], paths: frozenset[str]) -> list[tuple[str, str]]:
    """Of each file the contents whose hashes are lowest: a choice at random that more history seldom changes."""
    of_file: dict[str, dict[str, None]] = defaultdict(dict)
    for path, blob in edits:
        if path in paths:
            of_file[path].pop(blob, None)
            of_file[path][blob] = None
    chosen = {path: set(sorted(blobs)[:CONTENTS_OF_FILE]) for path, blobs in of_file.items()}
    lowest = set(sorted({blob for blobs in chosen.values() for blob in blobs})[:MOST_CONTENTS])
    return [(path, blob) for path, blobs in of_file.items() for blob in blobs if blob in chosen[path] & lowest]


def _functions(path: str, text: str) -> dict[Known, str]:
    """The texts of functions whose name is theirs alone; of a file that holds a secret none, as in the index."""
    if holds_secret(text):
        return {}
    found = [one for one in fragments(path, text)[0] if one.kind in KINDS and one.part <= 1]
    times = Counter(one.name for one in found)
    return {(path, one.name): one.text for one in found if times[one.name] == 1}


def _kept(path: Path, key: str) -> dict[Known, str] | None:
    """What is kept under a key; None where it is another one, or cannot be read."""
    try:
        kept = json.loads(path.read_text("ascii"))
        return {(file, name): text for file, name, text in kept["texts"]} if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, key: str, found: Mapping[Known, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"key": key, "texts": [[*known, text] for known, text in found.items()]}), "ascii")
    fresh.replace(path)
