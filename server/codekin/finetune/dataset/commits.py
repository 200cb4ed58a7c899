"""Reads which functions the commits of a repository changed, and what their subjects say.

Git is run as `git_history` runs it: nothing of the repository's configuration, limited in time and output.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from codekin.finetune.dataset.functions import TRAINED_LANGUAGES, FunctionKey, FunctionSample
from codekin.finetune.dataset.git_history import decode_path, functions_in, read_blobs, resolve_commit, run_git
from codekin.finetune.dataset.sources import ChangedFunctions
from codekin.parsing import LANGUAGES as SYNTAX
from codekin.util.files import write_atomically

_COMMIT_LOG = (
    "log", "--raw", "-z", "--no-abbrev", "--format=%x01%s", "--no-merges", "--diff-filter=AM", "--no-renames",
    "--relative", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all", f"-O{os.devnull}",
)  # fmt: skip

MAX_COMMITS_READ = 1500
MAX_FILES_OF_COMMIT = 4
MAX_EDITS_READ = 1000
"""Commits that are looked at, files of one that is read, and edits whose contents are read in all."""

COMMITS_NAME = "commits.json"


FileEdit = tuple[str, str, str]
"""A path, and the hashes of its content before and after a commit; the one before is all zeros of a new file."""


def list_commits(root: Path, commit: str, patterns: Iterable[str], most: int) -> Iterator[tuple[str, list[FileEdit]]]:
    """Subject and edits of the last commits that changed files of these patterns, the latest first."""
    said = run_git(root, (*_COMMIT_LOG, f"--max-count={most}", commit, "--", *patterns))
    for record in said.split(b"\x01")[1:]:
        fields = [field.lstrip(b"\n") for field in record.split(b"\0")]
        edits = [
            (decode_path(path), words[2], words[3])
            for field, path in pairwise(fields[1:])
            if field.startswith(b":") and len(words := field.decode("ascii", "replace").split(" ")) == 5
        ]
        yield fields[0].decode("utf-8", "replace"), edits


def find_commits(
    root: Path, folder: Path, samples: Sequence[FunctionSample], revision: str = "HEAD"
) -> list[ChangedFunctions]:
    """The subjects of small commits with the samples that they changed; none where there is no history.

    It is cached in `folder` for the same commit and the same files.
    """
    commit = resolve_commit(root, revision)
    known = {sample.function_key for sample in samples}
    key = sha256("\0".join([commit, *sorted(path for path, _ in known)]).encode("utf-8", "surrogatepass")).hexdigest()
    found = _read_commit_cache(folder / COMMITS_NAME, key) if commit else []
    if found is None:
        found = _read_commits(root, commit, frozenset(path for path, _ in known))
        rows = [[one.subject, [list(each) for each in one.functions]] for one in found]
        write_atomically(folder / COMMITS_NAME, json.dumps({"key": key, "commits": rows}))
    kept = (ChangedFunctions(one.subject, tuple(each for each in one.functions if each in known)) for one in found)
    return [one for one in kept if one.functions]


def _read_commits(root: Path, commit: str, paths: frozenset[str]) -> list[ChangedFunctions]:
    """The functions whose text each small commit changed or added."""
    patterns = sorted({f"*{end}" for name in TRAINED_LANGUAGES & SYNTAX.keys() for end in SYNTAX[name].extensions})
    wanted: list[tuple[str, list[FileEdit]]] = []
    for subject, edits in list_commits(root, commit, patterns, MAX_COMMITS_READ):
        known = [edit for edit in edits if edit[0] in paths]
        if known and len(edits) <= MAX_FILES_OF_COMMIT:
            wanted.append((subject, known))
        if sum(len(known) for _, known in wanted) >= MAX_EDITS_READ:
            break
    blobs = read_blobs(root, dict.fromkeys(blob for _, edits in wanted for edit in edits for blob in edit[1:]))
    functions = {(path, blob): None for _, edits in wanted for path, *both in edits for blob in both}
    texts = {
        (path, blob): functions_in(path, blobs[blob].decode("utf-8", "replace")) if blob in blobs else {}
        for path, blob in functions
    }
    return [ChangedFunctions(subject, tuple(_changed_functions(texts, edits))) for subject, edits in wanted]


def _changed_functions(
    texts: Mapping[tuple[str, str], Mapping[FunctionKey, str]], edits: Sequence[FileEdit]
) -> Iterator[FunctionKey]:
    for path, before, after in edits:
        old, new = texts[path, before], texts[path, after]
        yield from (key for key, text in new.items() if text.split() != old.get(key, "").split())


def _read_commit_cache(path: Path, key: str) -> list[ChangedFunctions] | None:
    """What is kept under a key; None where it is another one, or cannot be read."""
    try:
        kept = json.loads(path.read_text("ascii"))
        rows = [
            ChangedFunctions(str(subject), tuple((file, name) for file, name in keys))
            for subject, keys in kept["commits"]
        ]
        return rows if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
