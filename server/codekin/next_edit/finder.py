"""Finds and ranks next edits: patterns of the last edit, the files that may hold them, places, their chances.

Bounded in files, places and time; what was found by then is ranked.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from codekin.next_edit.arguments import read_added_argument
from codekin.next_edit.chances import SiteContext, chance_of, threshold
from codekin.next_edit.edits import Edit, TokenChange, read_changes
from codekin.next_edit.patterns import Pattern, Site, find_sites
from codekin.next_edit.renames import read_part_names
from codekin.next_edit.repeated import read_repetitions
from codekin.next_edit.siblings import read_siblings

MAX_FILES = 30
MAX_SITES = 400
TIME_LIMIT_SECONDS = 0.12
JOINED_SHARE = 0.5
"""Another change in the same lines is made along where its chance is at least this share of the best one's."""


class CodeSources(Protocol):
    """The files of a workspace as they are now."""

    def files_with(self, word: str) -> Sequence[str]:
        """Paths of files in which a word stands; any order."""
        ...

    def text(self, path: str) -> str | None:
        """The text of a file; None where it cannot be read or must not be shown."""
        ...

    def language(self, path: str) -> str:
        """The language of a file; empty where it is unknown."""
        ...


@dataclass(frozen=True, slots=True)
class NextEdit:
    """Lines `start_line` to `end_line` (from 0, exclusive) of a file become `new_lines`; the chance that this is right.

    With no lines between them the new ones are inserted before `start_line`, which is never behind the last line: an
    edit that adds or deletes the end of a file holds the line before as well. `kinds` says how it was found.
    """

    path: str
    start_line: int
    end_line: int
    old_lines: tuple[str, ...]
    new_lines: tuple[str, ...]
    chance: float
    kinds: tuple[str, ...]


@dataclass(slots=True)
class EditSearch:
    """One search; `co_change` is how often files changed with the edited one, `is_cancelled` ends it between files."""

    edit: Edit
    sources: CodeSources
    co_change: Mapping[str, float] = field(default_factory=dict)
    is_cancelled: Callable[[], bool] = lambda: False
    seconds: float = TIME_LIMIT_SECONDS
    _texts: dict[str, str | None] = field(default_factory=dict)

    def run(self, limit: int = 10, min_chance: float | None = None) -> list[NextEdit]:
        """The likeliest next edits, the likeliest first; none below the chance from which they are shown."""
        least = threshold() if min_chance is None else min_chance
        found = [one for one in self._merge(self.sites()) if one.chance >= least]
        found.sort(key=lambda one: (-one.chance, one.path != self.edit.path, one.path, one.start_line))
        return found[:limit]

    def sites(self) -> list[tuple[Site, float]]:
        """All places with the chance of each."""
        deadline = time.monotonic() + self.seconds
        changes = read_changes(self.edit)
        patterns = read_patterns(self.edit, changes)
        sites: list[Site] = []
        files: Counter[str] = Counter()
        for path, some in self._patterns_by_file(patterns, files):
            if time.monotonic() > deadline or self.is_cancelled() or len(sites) > MAX_SITES:
                break
            text = self._text(path)
            for pattern in some if text is not None else ():
                sites += self._outside_edit(find_sites(pattern, path, self.sources.language(path), text or ""))
        return self._weigh(sites, changes, files)

    def _patterns_by_file(
        self, patterns: Sequence[Pattern], files: Counter[str]
    ) -> Iterator[tuple[str, Sequence[Pattern]]]:
        """The edited file, then the files that hold the rarest words and changed with it or lie near it."""
        own = self.edit.path
        everywhere = [pattern for pattern in patterns if pattern.kind == "part"]
        by_file: defaultdict[str, list[Pattern]] = defaultdict(list)
        for pattern in patterns:
            if pattern.kind == "part":
                continue
            found = self.sources.files_with(pattern.anchor)
            files[pattern.anchor] = len(found)
            for path in found:
                by_file[path].append(pattern)
        yield own, patterns
        by_file.pop(own, None)

        def rank(path: str) -> tuple[float, float, int, str]:
            rarest = min(files[pattern.anchor] for pattern in by_file[path])
            return -self.co_change.get(path, 0.0), rarest, -_shared_folders(own, path), path

        for path in sorted(by_file, key=rank)[:MAX_FILES]:
            yield path, [*by_file[path], *everywhere]

    def _text(self, path: str) -> str | None:
        if path == self.edit.path:
            return self.edit.after
        if path not in self._texts:
            self._texts[path] = self.sources.text(path)
        return self._texts[path]

    def _outside_edit(self, sites: Iterator[Site]) -> Iterator[Site]:
        """The places that the edit itself has not changed."""
        first = _offset_of_line(self.edit.after, self.edit.start)
        last = _offset_of_line(self.edit.after, self.edit.new_end)
        for site in sites:
            if site.path != self.edit.path or site.end < first or site.start >= max(last, first + 1):
                yield site

    def _weigh(
        self, sites: Sequence[Site], changes: Sequence[TokenChange], files: Mapping[str, int]
    ) -> list[tuple[Site, float]]:
        counts = Counter((site.kind, site.change.key) for site in sites)
        inside = Counter((site.kind, site.change.key) for site in sites if site.path == self.edit.path)
        weighed = []
        for site in sites:
            key = site.kind, site.change.key
            context = SiteContext(
                sites=counts[key],
                sites_inside=inside[key],
                files=max((files.get(token, 0) for token in site.change.deleted), default=0),
                changes=len(changes),
                lines_away=self._lines_away(site),
                co_change=self.co_change.get(site.path, 0.0),
                is_near=_shared_folders(self.edit.path, site.path) > 0,
                is_old_name_left=self._is_left_in_edit(site.change),
            )
            weighed.append((site, chance_of(site, self.edit, context)))
        return weighed

    def _is_left_in_edit(self, change: TokenChange) -> bool:
        """Whether the edited lines still hold what was replaced."""
        text = "\n".join(self.edit.new_lines)
        return bool(change.deleted) and max(change.deleted, key=len) in text

    def _lines_away(self, site: Site) -> int:
        """Lines between the edit and a place in the same file; -1 in another one."""
        if site.path != self.edit.path:
            return -1
        line = self.edit.after.count("\n", 0, site.start)
        return min(abs(line - self.edit.start), abs(line - self.edit.new_end))

    def _merge(self, weighed: Sequence[tuple[Site, float]]) -> Iterator[NextEdit]:
        """One edit for all places in the same or adjoining lines."""
        by_file: defaultdict[str, list[tuple[Site, float]]] = defaultdict(list)
        for site, chance in weighed:
            by_file[site.path].append((site, chance))
        for path, some in by_file.items():
            yield from merged(path, self._text(path) or "", some)


def read_patterns(edit: Edit, changes: Sequence[TokenChange]) -> list[Pattern]:
    """All that the changes of an edit may mean elsewhere."""
    found: list[Pattern] = []
    for change in changes:
        found += read_repetitions(change)
        found += read_part_names(change)
        found += read_added_argument(edit, change)
        found += read_siblings(change)
    return found


def merged(path: str, text: str, weighed: Sequence[tuple[Site, float]]) -> Iterator[NextEdit]:
    """One edit of a file for all places in the same or adjoining lines."""
    for group in _adjoining(text, weighed):
        edit = _edit_of_group(path, text, group)
        if edit.old_lines != edit.new_lines:
            yield edit


Placed = tuple[Site, float, int, int]
"""A place with its chance and its first and last line."""


def _adjoining(text: str, weighed: Sequence[tuple[Site, float]]) -> Iterator[list[Placed]]:
    placed = []
    for site, chance in sorted(weighed, key=lambda row: (row[0].start, row[0].end)):
        first = text.count("\n", 0, site.start)
        placed.append((site, chance, first, first + text.count("\n", site.start, site.end)))
    group: list[Placed] = []
    for row in placed:
        if group and row[2] > max(other[3] for other in group) + 1:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _edit_of_group(path: str, text: str, group: Sequence[Placed]) -> NextEdit:
    best = max(chance for _, chance, _, _ in group)
    chosen: list[Placed] = []
    for row in sorted(group, key=lambda row: (-row[1], row[0].start)):
        if row[1] >= best * JOINED_SHARE and all(_is_apart(row[0], other[0]) for other in chosen):
            chosen.append(row)
    lines = text.split("\n")
    first, last = min(row[2] for row in chosen), max(row[3] for row in chosen)
    start = _offset_of_line(text, first)
    new = text[start : start + len("\n".join(lines[first : last + 1]))]
    for site, *_ in sorted(chosen, key=lambda row: -row[0].start):
        new = new[: site.start - start] + site.text + new[site.end - start :]
    kinds = tuple(dict.fromkeys(row[0].kind for row in chosen))
    old = tuple(lines[first : last + 1])
    edit = _trimmed(NextEdit(path, first, last + 1, old, tuple(new.split("\n")), best, kinds))
    return _anchored(edit, lines)


def _is_apart(site: Site, other: Site) -> bool:
    if site.start == site.end == other.start == other.end:
        return False
    return site.end <= other.start or other.end <= site.start


def _trimmed(edit: NextEdit) -> NextEdit:
    """Without the lines at both ends that stay as they are."""
    old, new, start = list(edit.old_lines), list(edit.new_lines), edit.start_line
    while old and new and old[0] == new[0]:
        old, new, start = old[1:], new[1:], start + 1
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return NextEdit(edit.path, start, start + len(old), tuple(old), tuple(new), edit.chance, edit.kinds)


def _anchored(edit: NextEdit, lines: Sequence[str]) -> NextEdit:
    """With the line before where whole lines are added or deleted at the end of a file: its break changes too."""
    is_whole = not (edit.old_lines and edit.new_lines)
    if edit.end_line < len(lines) or not edit.start_line or not is_whole or edit.old_lines == edit.new_lines:
        return edit
    kept = (lines[edit.start_line - 1],)
    old, new = kept + edit.old_lines, kept + edit.new_lines
    return replace(edit, start_line=edit.start_line - 1, old_lines=old, new_lines=new)


def _offset_of_line(text: str, line: int) -> int:
    """The offset at which a line begins."""
    offset = 0
    for _ in range(line):
        at = text.find("\n", offset)
        if at < 0:
            return len(text)
        offset = at + 1
    return offset


def _shared_folders(path: str, other: str) -> int:
    count = 0
    for one, another in zip(path.split("/")[:-1], other.split("/")[:-1], strict=False):
        if one != another:
            break
        count += 1
    return count
