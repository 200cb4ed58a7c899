"""Finds earlier texts of a workspace's functions in git, without running anything the repository configures.

Hooks, file monitors, signature checkers, textconv and transports stay unused; nothing is fetched or written. Each
command is limited in time and output; where git is missing, fails or exceeds a limit, the output up to then is used.

Reads a fixed sample of each file's former contents; the oldest text of a function wins.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from threading import Timer

from codekin.finetune.dataset.functions import (
    FUNCTION_KINDS,
    TRAINED_LANGUAGES,
    FunctionKey,
    FunctionSample,
    changed_code,
)
from codekin.parsing import LANGUAGES as SYNTAX
from codekin.parsing import cut_chunks
from codekin.parsing.secrets import contains_secret
from codekin.util.files import write_atomically

TIMEOUT_SECONDS = 20.0
MAX_OUTPUT_BYTES = 64_000_000
MAX_FILE_BYTES = 300_000
MAX_COMMITS = 3000
"""So far back a function's earlier texts are looked for."""

_SAFE_CONFIG = (
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    "core.pager=cat",
    "log.mailmap=false",
    "log.showSignature=false",
    "blame.ignoreRevsFile=",
    "safe.bareRepository=explicit",
)
_SAFE_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "",
}
"""No transport may be used, whatever the repository allows (`protocol.ext.allow` goes before `protocol.allow`), and
however old git is: before 2.39.4 it did not know how to fetch nothing."""

_MAX_POINTER_BYTES = 1 << 16
_WORKTREE = re.compile(r"^\s*worktree\s*=\s*\"?([^\n\"]{1,4096})", re.MULTILINE)

_LOG = (
    "log", "--raw", "-z", "--no-abbrev", "--format=", "--no-merges", "--diff-filter=MR", "--find-renames=100%",
    "--relative", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all", f"-O{os.devnull}",
    f"--max-count={MAX_COMMITS}",
)  # fmt: skip


def resolve_commit(root: Path, revision: str = "HEAD") -> str:
    """The hash of a revision; empty where the folder has no history."""
    if not _has_own_history(root):
        return ""  # on a Mac without developer tools the command itself would open a window
    return (
        run_git(root, ("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")).decode("ascii", "replace").strip()
    )


def _has_own_history(root: Path) -> bool:
    """Whether git's folder belongs to the working tree and all its objects lie in it, none elsewhere by a link.

    A folder that came as an archive may point at the repository of somebody else; so do a clone's alternates.
    """
    tree = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    shared = _find_shared_folder(tree) if tree is not None else None
    if shared is None:
        return False
    objects = shared / "objects"
    pointers = [objects / "info" / "alternates", shared / "commondir"]
    folders = (shared, objects, objects / "pack")
    return not any(map(_holds_links, folders)) and not any(path.exists() for path in pointers)


def _find_shared_folder(tree: Path) -> Path | None:
    """Where the repository of a working tree keeps its objects; None where that is another tree's."""
    pointer = tree / ".git"
    if pointer.is_symlink() or pointer.is_dir():
        return None if pointer.is_symlink() else pointer
    own = _resolve(tree, _read_start(pointer).removeprefix("gitdir:"))
    back = _read_start(own / "gitdir")  # of a further working tree
    worktree = _WORKTREE.search(_read_start(own / "config"))  # of a submodule
    points_back = (back and _resolve(own, back) == tree.resolve() / ".git") or (
        worktree is not None and _resolve(own, worktree[1]) == tree.resolve()
    )
    if not points_back and not own.is_relative_to(tree.resolve()):
        return None
    common = _read_start(own / "commondir")
    return _resolve(own, common) if common else own


def _resolve(folder: Path, path: str) -> Path:
    return (folder / path.strip()).resolve()


def _read_start(path: Path) -> str:
    """The beginning of a regular file; empty where there is none."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return os.fsdecode(file.read(_MAX_POINTER_BYTES))
    except (OSError, ValueError):
        return ""


def _holds_links(folder: Path) -> bool:
    """Whether a folder is a symbolic link, or anything in it."""
    if folder.is_symlink():
        return True
    try:
        with os.scandir(folder) as entries:
            return any(entry.is_symlink() for entry in entries)
    except OSError:
        return False


def find_merge_base(root: Path, commit: str) -> str:
    """The commit where the history of HEAD left that of another one; that one itself where they share none."""
    said = run_git(root, ("merge-base", commit, "HEAD")).decode("ascii", "replace").strip()
    return said or commit


def list_tree(root: Path, commit: str) -> dict[str, str]:
    """The hash of each file's content in a commit, by its path below `root`."""
    rows = run_git(root, ("ls-tree", "-r", "-z", commit)).split(b"\0")
    split = (row.split(b"\t", 1) for row in rows if row.startswith((b"100644 blob ", b"100755 blob ")))
    return {decode_path(path): about.split(b" ")[2].decode("ascii", "replace") for about, path in split}


def list_edits(root: Path, commit: str, patterns: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Path of today, below `root`, and hash of a file's content before an edit; the latest edits first."""
    fields = iter(run_git(root, (*_LOG, commit, "--", *patterns)).split(b"\0"))
    today: dict[str, str] = {}
    for field in fields:
        words = field.decode("ascii", "replace").split(" ")
        if not field.startswith(b":") or len(words) != 5:
            continue
        path = decode_path(next(fields, b""))
        if words[4].startswith("R"):
            new = decode_path(next(fields, b""))
            today[path] = today.get(new, new)
        else:
            yield today.get(path, path), words[2]


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as an answer shows it; `time` is that of the commit in seconds since 1970."""

    hash: str
    author: str
    time: float
    subject: str


def last_commit_of_lines(
    root: Path, commit: str, path: str, lines: tuple[int, int], seconds: float = TIMEOUT_SECONDS
) -> Commit | None:
    """The latest commit that changed these lines of a committed file; None where git cannot say, or not in time.

    The committed file is read, never the one on disk, which filters of the repository would be run on.
    """
    words = ("blame", "--porcelain", "--no-textconv", "-L", f"{lines[0]},{lines[1]}", commit, "--", path)
    found = list(_parse_blame(run_git(root, words, seconds=seconds).decode("utf-8", "replace")))
    return max(found, key=lambda one: one.time, default=None)


def _parse_blame(said: str) -> Iterator[Commit]:
    """The commits of `git blame --porcelain`, each described at its first line."""
    commit, fields = "", dict[str, str]()
    for line in said.split("\n"):
        if line.startswith("\t"):
            if fields.get("committer-time", "").isdigit():
                yield Commit(commit, fields["author"], float(fields["committer-time"]), fields.get("summary", ""))
            fields = {}
        elif _BLAMED.match(line):
            commit = line.split(" ", 1)[0]
        else:
            name, _, value = line.partition(" ")
            fields[name] = value


_BLAMED = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64}) \d+ \d+")
_MAX_EDITS = 20
_EDIT_FORMAT = "--format=%x01%H%x02%an%x02%ct%x02%s"
_EDITS = (
    "log", "--raw", "-z", "--no-abbrev", "--no-merges", "--no-renames", "--diff-filter=MD", "--relative",
    "--no-ext-diff", "--no-textconv", "--ignore-submodules=all", f"-O{os.devnull}", f"--max-count={_MAX_EDITS}",
    _EDIT_FORMAT,
)  # fmt: skip


def edits_of_text(
    root: Path, commit: str, text: str, patterns: Iterable[str], seconds: float
) -> Iterator[tuple[Commit, list[tuple[str, str]]]]:
    """The commits after which a text stood somewhere more or less often, the latest first.

    Each comes with the paths that it changed or deleted and the hashes of their contents before.
    """
    said = run_git(root, (*_EDITS, f"-S{text}", commit, "--", *patterns), seconds=seconds)
    for part in said.split(b"\1")[1:]:
        head, *fields = part.split(b"\0")
        words = head.decode("utf-8", "replace").split("\2")
        if len(words) == 4 and words[2].isdigit():
            yield Commit(words[0], words[1], float(words[2]), words[3]), list(_parse_raw(fields))


def _parse_raw(fields: Sequence[bytes]) -> Iterator[tuple[str, str]]:
    """Paths and former contents of a commit's changes in raw form."""
    for about, path in pairwise(fields):
        words = about.decode("ascii", "replace").strip().split(" ")
        if len(words) == 5 and words[0].startswith(":"):
            yield decode_path(path), words[2]


def list_changed_files(root: Path, commit: str, count: int) -> Iterator[list[str]]:
    """The paths below `root` that each of the latest commits changed, the latest commit first; merges aside."""
    words = (
        "log", "--name-only", "-z", "--format=%x01", "--no-merges", "--no-renames", "--relative", "--no-ext-diff",
        "--no-textconv", "--ignore-submodules=all", f"--max-count={count}", commit,
    )  # fmt: skip
    for part in run_git(root, words).split(b"\x01")[1:]:
        yield [decode_path(path.strip(b"\n")) for path in part.split(b"\0") if path.strip(b"\n")]


def read_blobs(root: Path, hashes: Iterable[str]) -> Mapping[str, bytes]:
    """Contents by hash, without those of files that are too large."""
    listed = run_git(root, ("cat-file", "--batch-check"), hashes).decode("ascii", "replace")
    rows = [line.split(" ") for line in listed.splitlines()]
    small = [row[0] for row in rows if len(row) == 3 and row[1] == "blob" and int(row[2]) <= MAX_FILE_BYTES]
    return dict(_parse_batch(run_git(root, ("cat-file", "--batch"), small)))


def _parse_batch(answer: bytes) -> Iterator[tuple[str, bytes]]:
    """The contents in an answer of `cat-file --batch`: a line with hash, type and size before each, a newline after."""
    start = 0
    while (end := answer.find(b"\n", start)) > 0:
        words = answer[start:end].decode("ascii", "replace").split(" ")
        start = end + 1
        if len(words) == 3:  # else it is missing: git tidies up meanwhile
            start += int(words[2]) + 1
            if start <= len(answer):
                yield words[0], answer[end + 1 : start - 1]


def run_git(root: Path, words: Iterable[str], lines: Iterable[str] = (), seconds: float = TIMEOUT_SECONDS) -> bytes:
    """The output of git for the input `lines`; empty where git cannot be run."""
    program = shutil.which("git") or ""
    if not Path(program).is_absolute():
        return b""  # by way of a relative folder in the PATH it would be the repository's own
    settings = [word for setting in _SAFE_CONFIG for word in ("-c", setting)]
    command = [program, "--no-pager", *settings, *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _SAFE_ENVIRONMENT
    with tempfile.TemporaryFile() as given:
        given.write("".join(f"{line}\n" for line in lines).encode())
        given.seek(0)
        try:
            process = subprocess.Popen(
                command, cwd=root, env=environment, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError:
            return b""
    return _read_limited(process, seconds)


def _read_limited(process: "subprocess.Popen[bytes]", seconds: float) -> bytes:
    """The output of a process up to a time and a size, at which it ends."""
    timer = Timer(seconds, process.kill)
    timer.start()
    try:
        with process:
            said = process.stdout.read(MAX_OUTPUT_BYTES) if process.stdout else b""
            process.kill()
            return said
    finally:
        timer.cancel()


def decode_path(field: bytes) -> str:
    """A path as git prints it; bytes that are no UTF-8 stay as lone surrogates."""
    return field.decode("utf-8", "surrogateescape")


MAX_VERSIONS_PER_FILE = 4
MAX_VERSIONS_TOTAL = 4000
"""Former contents that are read of one file, and of all."""

CACHE_NAME = "earlier-texts.json"


def find_earlier_texts(
    root: Path, folder: Path, samples: Sequence[FunctionSample], revision: str = "HEAD"
) -> dict[FunctionKey, str]:
    """An earlier text of each sample that differs from today's; none where there is no history.

    It is cached in `folder` for the same commit and the same files.
    """
    commit = resolve_commit(root, revision)
    paths = {sample.chunk.path for sample in samples}
    key = sha256("\0".join([commit, *sorted(paths)]).encode("utf-8", "surrogatepass")).hexdigest()
    found = _read_cache(folder / CACHE_NAME, key) if commit else {}
    if found is None:
        found = _read_history(root, commit, paths)
        _write_cache(folder / CACHE_NAME, key, found)
    return {
        sample.function_key: found[sample.function_key]
        for sample in samples
        if changed_code(sample, found.get(sample.function_key, ""))
    }


def _read_history(root: Path, commit: str, paths: Iterable[str]) -> dict[FunctionKey, str]:
    """The oldest text of each function among the sampled contents of these files."""
    patterns = sorted({f"*{end}" for name in TRAINED_LANGUAGES & SYNTAX.keys() for end in SYNTAX[name].extensions})
    wanted = _sample_versions(list_edits(root, commit, patterns), frozenset(paths))
    former = read_blobs(root, dict.fromkeys(blob for _, blob in wanted))
    found: dict[FunctionKey, str] = {}
    for path, blob in wanted:  # the latest first, so that the oldest stays
        if blob in former:
            found |= functions_in(path, former[blob].decode("utf-8", "replace"))
    return found


def _sample_versions(edits: Iterable[tuple[str, str]], paths: frozenset[str]) -> list[tuple[str, str]]:
    """Of each file the contents whose hashes are lowest: a choice at random that more history seldom changes."""
    of_file: dict[str, dict[str, None]] = defaultdict(dict)
    for path, blob in edits:
        if path in paths:
            of_file[path].pop(blob, None)
            of_file[path][blob] = None
    chosen = {path: set(sorted(blobs)[:MAX_VERSIONS_PER_FILE]) for path, blobs in of_file.items()}
    lowest = set(sorted({blob for blobs in chosen.values() for blob in blobs})[:MAX_VERSIONS_TOTAL])
    return [(path, blob) for path, blobs in of_file.items() for blob in blobs if blob in chosen[path] & lowest]


def functions_in(path: str, text: str) -> dict[FunctionKey, str]:
    """The texts of functions whose name is theirs alone; of a file that holds a secret none, as in the index."""
    if contains_secret(text):
        return {}
    found = [one for one in cut_chunks(path, text)[0] if one.kind in FUNCTION_KINDS and one.part <= 1]
    times = Counter(one.name for one in found)
    return {(path, one.name): one.text for one in found if times[one.name] == 1}


def _read_cache(path: Path, key: str) -> dict[FunctionKey, str] | None:
    """What is kept under a key; None where it is another one, or cannot be read."""
    try:
        kept = json.loads(path.read_text("ascii"))
        return {(file, name): text for file, name, text in kept["texts"]} if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_cache(path: Path, key: str, found: Mapping[FunctionKey, str]) -> None:
    rows = [[*function_key, text] for function_key, text in found.items()]
    write_atomically(path, json.dumps({"key": key, "texts": rows}))
