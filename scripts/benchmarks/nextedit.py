"""Next edits from the histories of repositories: the first edit of a commit is given, where are the others?

    python scripts/benchmarks/nextedit.py --repos DIR [REPOSITORY …] [--commits 1500] [--cases 150] [--json]

A case is a commit that changes one thing in several places: its first edit and another one share a change of tokens
(the same words replaced, or the same words added). Given are the files before the commit with the first edit made.
A place is right where it touches lines that another edit of the commit changes; a text is right where those lines then
read as after the commit. Commits with one edit alone show how often nothing is shown where nothing follows.
"""

import argparse
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from figures import Figure, show

from codekin.next_edit.cochange import CoChange
from codekin.next_edit.edits import Edit, TokenChange, is_word, read_changes, read_edit
from codekin.next_edit.finder import EditSearch, NextEdit
from codekin.parsing import LANGUAGES, detect_language

EXTENSIONS = tuple(sorted({end for row in LANGUAGES.values() for end in row.extensions}))
MAX_EDITS, MAX_FILES, MAX_HISTORY = 25, 12, 6000
HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
FIRST = 3


@dataclass(frozen=True)
class Hunk:
    path: str
    start: int  # the first changed line of the old text, from 0
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True)
class Commit:
    hash: str
    hunks: tuple[Hunk, ...]


@dataclass
class Repository:
    """A history; reads contents by hash from one process of git."""

    folder: Path
    _batch: "subprocess.Popen[bytes] | None" = None
    _history: CoChange | None = None
    _numbers: dict[str, int] = field(default_factory=dict)
    _blobs: dict[str, str] = field(default_factory=dict)
    _words: dict[str, frozenset[str]] = field(default_factory=dict)

    def git(self, *words: str) -> str:
        command = ["git", "-C", str(self.folder), *words]
        return subprocess.run(command, check=False, capture_output=True).stdout.decode("utf-8", "replace")

    def commits(self, count: int) -> Iterator[Commit]:
        """The newest commits without merges, as their edits of files of code that were there before."""
        patterns = [f"*{end}" for end in EXTENSIONS]
        said = self.git(
            "log", f"--max-count={count}", "--no-merges", "-p", "-U0", "--no-renames", "--no-color", "--no-ext-diff",
            "--diff-filter=M", "--format=\x01%H", "HEAD", "--", *patterns,
        )  # fmt: skip
        for part in said.split("\x01")[1:]:
            name, _, diff = part.partition("\n")
            hunks = tuple(read_hunks(diff))
            if hunks:
                yield Commit(name, hunks)

    def tree(self, commit: str) -> dict[str, str]:
        rows = self.git("ls-tree", "-r", "-z", commit).split("\0")
        split = [row.split("\t", 1) for row in rows if "\t" in row and " blob " in row]
        return {path: about.split(" ")[2] for about, path in split if path.endswith(EXTENSIONS)}

    def blob(self, digest: str) -> str:
        if digest not in self._blobs:
            self._blobs[digest] = self._read(digest)
        return self._blobs[digest]

    def words(self, digest: str) -> frozenset[str]:
        if digest not in self._words:
            self._words[digest] = frozenset(re.findall(r"[^\W\d]\w*[?!]?|\d[\w.]*", self.blob(digest))) | frozenset(
                re.findall(r"\w+", self.blob(digest))
            )
        return self._words[digest]

    def co_change(self, commit: str, path: str) -> Mapping[str, float]:
        """How often each file changed along in the commits before this one."""
        if self._history is None:
            said = self.git(
                "log", "--format=\x01%H", "--no-merges", f"--max-count={MAX_HISTORY}", "--name-only", "--no-renames"
            )
            rows = [part.split("\n") for part in said.split("\x01")[1:]]
            self._numbers = {row[0]: number for number, row in enumerate(rows)}
            self._history = CoChange([name for name in row[1:] if name] for row in rows)
        return self._history.co_change(path, self._numbers.get(commit, -1))

    def _read(self, digest: str) -> str:
        if self._batch is None:
            self._batch = subprocess.Popen(
                ["git", "-C", str(self.folder), "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._batch.stdin is not None
        assert self._batch.stdout is not None
        self._batch.stdin.write(f"{digest}\n".encode())
        self._batch.stdin.flush()
        about = self._batch.stdout.readline().split()
        if len(about) < 3:
            return ""  # a snapshot may lack its largest files
        size = int(about[2])
        data = self._batch.stdout.read(size + 1)[:-1]
        return data.decode("utf-8", "replace").replace("\r\n", "\n")


def read_hunks(diff: str) -> Iterator[Hunk]:
    path, start, old, new = "", -1, [], []
    for line in [*diff.split("\n"), "@@"]:
        if line.startswith(("diff --git", "@@")) and start >= 0:
            yield Hunk(path, start, tuple(old), tuple(new))
            start, old, new = -1, [], []
        if line.startswith("+++ b/"):
            path = line[6:].rstrip("\t")
        elif match := HUNK.match(line):
            count = int(match[2] or 1)
            start = int(match[1]) - (1 if count else 0)
        elif start >= 0 and line.startswith("-"):
            old.append(line[1:].rstrip("\r"))
        elif start >= 0 and line.startswith("+"):
            new.append(line[1:].rstrip("\r"))


@dataclass(frozen=True)
class Sources:
    """The files of a commit with one of them edited."""

    repository: Repository
    tree: dict[str, str]
    own: str
    text_now: str

    def files_with(self, word: str) -> list[str]:
        return [path for path, digest in self.tree.items() if word in self.repository.words(digest)]

    def text(self, path: str) -> str | None:
        return self.text_now if path == self.own else self.repository.blob(self.tree[path])

    @staticmethod
    def language(path: str) -> str:
        return language_of(path)


@cache
def language_of(path: str) -> str:
    return detect_language(path, "") or ""


@dataclass(frozen=True)
class Case:
    repository: Repository
    commit: Commit
    edit: Edit
    sources: Sources
    further: tuple[Hunk, ...]  # in the files as they are with the first edit made

    def search(self, seconds: float = 1.0) -> EditSearch:
        co_change = self.repository.co_change(self.commit.hash, self.edit.path)
        return EditSearch(self.edit, self.sources, co_change, seconds=seconds)


def apply(text: str, hunk: Hunk) -> str:
    lines = text.split("\n")
    lines[hunk.start : hunk.start + len(hunk.old)] = hunk.new
    return "\n".join(lines)


def edit_of(repository: Repository, hunk: Hunk, tree: dict[str, str]) -> Edit | None:
    if hunk.path not in tree:
        return None
    before = repository.blob(tree[hunk.path])
    return read_edit(hunk.path, language_of(hunk.path), before, apply(before, hunk))


def changed_words(changes: list[TokenChange]) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    """What an edit replaces by what, as words; signs and very short words aside."""
    found = set()
    for change in changes:
        old, new = (tuple(filter(is_word, tokens)) for tokens in change.key)
        if old != new and any(len(word) > 2 for word in (*old, *new)):
            found.add((old, new))
    return found


def cases(repository: Repository, count: int, wanted: int) -> tuple[list[Case], list[Case]]:
    """Commits that make a change in several places, and commits with one edit."""
    several, alone = [], []
    for commit in repository.commits(count):
        if len(several) >= wanted and len(alone) >= wanted:
            break
        files = {hunk.path for hunk in commit.hunks}
        if len(commit.hunks) > MAX_EDITS or len(files) > MAX_FILES:
            continue
        if len(commit.hunks) == 1 and len(alone) < wanted and is_whole(repository, commit):
            if case := case_of(repository, commit, commit.hunks[0], ()):
                alone.append(case)
        elif len(commit.hunks) > 1 and len(several) < wanted and (case := several_of(repository, commit)):
            several.append(case)
    return several, alone


def is_whole(repository: Repository, commit: Commit) -> bool:
    """Whether a commit changes one file of code alone, and adds or removes none."""
    names = repository.git("show", "--format=", "--name-status", "--no-renames", commit.hash).split("\n")
    return sum(1 for name in names if name.endswith(EXTENSIONS)) == 1


def several_of(repository: Repository, commit: Commit) -> Case | None:
    tree = repository.tree(f"{commit.hash}^")
    edits = [edit_of(repository, hunk, tree) for hunk in commit.hunks]
    words = [changed_words(read_changes(edit)) if edit else set() for edit in edits]
    for at, first in enumerate(commit.hunks):
        if any(words[at] & other for number, other in enumerate(words) if number != at):
            return case_of(repository, commit, first, tuple(h for h in commit.hunks if h is not first), tree)
    return None


def case_of(
    repository: Repository, commit: Commit, first: Hunk, rest: tuple[Hunk, ...], tree: dict[str, str] | None = None
) -> Case | None:
    tree = tree or repository.tree(f"{commit.hash}^")
    edit = edit_of(repository, first, tree)
    if edit is None or not read_changes(edit):
        return None
    grown = len(first.new) - len(first.old)
    moved = tuple(
        Hunk(h.path, h.start + (grown if h.path == first.path and h.start > first.start else 0), h.old, h.new)
        for h in rest
    )
    return Case(repository, commit, edit, Sources(repository, tree, first.path, edit.after), moved)


def hunk_at(found: NextEdit, further: tuple[Hunk, ...]) -> Hunk | None:
    """The edit of the commit whose lines a proposal touches."""
    for hunk in further:
        start, end = hunk.start, hunk.start + len(hunk.old)
        if hunk.path != found.path:
            continue
        if start < found.end_line and found.start_line < end:
            return hunk
        if (start == end or found.start_line == found.end_line) and start <= found.end_line and found.start_line <= end:
            return hunk
    return None


def is_exact(found: NextEdit, hunk: Hunk) -> bool:
    """Whether the lines of a proposal read as after the commit: with the whole edit, or line by line."""
    first, last = found.start_line - hunk.start, found.end_line - hunk.start
    if first < 0 or last > len(hunk.old):
        return False
    whole = [*hunk.old[:first], *found.new_lines, *hunk.old[last:]]
    if [line.rstrip() for line in whole] == [line.rstrip() for line in hunk.new]:
        return True
    same_height = len(hunk.old) == len(hunk.new) and last - first == len(found.new_lines)
    return same_height and list(found.new_lines) == list(hunk.new[first:last])


@dataclass
class Tally:
    several: int = 0
    placed: int = 0
    exact: int = 0
    alone: int = 0
    silent: int = 0
    shown: int = 0
    shown_right: int = 0
    milliseconds: list[float] = field(default_factory=list)

    def add_several(self, case: Case) -> None:
        found = self._run(case)
        hits = [(one, hunk) for one in found[:FIRST] if (hunk := hunk_at(one, case.further))]
        self.several += 1
        self.placed += bool(hits)
        self.exact += any(is_exact(one, hunk) for one, hunk in hits)
        self.shown += min(len(found), FIRST)
        self.shown_right += len(hits)

    def add_alone(self, case: Case) -> None:
        self.alone += 1
        self.silent += not self._run(case)

    def _run(self, case: Case) -> list[NextEdit]:
        search = case.search()
        for digest in case.sources.tree.values():
            case.repository.words(digest)  # as the daemon's corpus holds them
        began = time.perf_counter()
        found = search.run()
        self.milliseconds.append((time.perf_counter() - began) * 1000)
        return found

    def __str__(self) -> str:
        place, exact = self.placed / max(1, self.several), self.exact / max(1, self.several)
        return f"{self.several} commits, place {place:.2f}, exact {exact:.2f}, silent {self.silent} of {self.alone}"

    def figures(self) -> list[Figure]:
        spent = sorted(self.milliseconds)
        right = f"{self.shown_right} of {self.shown} that are shown"
        return [
            Figure(
                "place of a further edit in the first 3",
                self.placed / max(1, self.several),
                at_least=0.6,
                beside=f"{self.several} commits; {right}",
            ),
            Figure("its text exactly right", self.exact / max(1, self.several), at_least=0.25),
            Figure(
                "silent where nothing follows",
                self.silent / max(1, self.alone),
                at_least=0.9,
                beside=f"{self.alone} commits",
            ),
            Figure(
                "a search, p50",
                statistics.median(spent) if spent else 0.0,
                "ms",
                at_most=150,
                beside=f"p99 {spent[int(len(spent) * 0.99)] if spent else 0:.0f} ms",
            ),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repos", type=Path, required=True, help="a folder of repositories with their histories")
    parser.add_argument("names", nargs="*", help="of these; all where none is named")
    parser.add_argument("--commits", type=int, default=1500, help="so many of each history are looked at")
    parser.add_argument("--cases", type=int, default=100, help="so many of each kind are taken of each history")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    total = Tally()
    for folder in find_repositories(options.repos, options.names):
        one = Tally()
        several, alone = cases(Repository(folder), options.commits, options.cases)
        for case in several:
            one.add_several(case)
        for case in alone:
            one.add_alone(case)
        name = folder.name if folder.name != "repo" else folder.parent.name
        print(f"{name}: {one}", file=sys.stderr, flush=True)
        for name in ("several", "placed", "exact", "alone", "silent", "shown", "shown_right"):
            setattr(total, name, getattr(total, name) + getattr(one, name))
        total.milliseconds += one.milliseconds
    show(total.figures(), as_json=options.json)


def find_repositories(folder: Path, names: list[str]) -> list[Path]:
    """The folders with a history, by name; a bare repository may lie in a folder `repo` of its own."""
    found = [one for one in sorted(folder.iterdir()) if not names or one.name in names]
    inner = [
        next((at for at in (one, one / "repo") if (at / ".git").exists() or (at / "objects").is_dir()), None)
        for one in found
    ]
    return [one for one in inner if one is not None]


if __name__ == "__main__":
    main()
