"""What a generator reads: kin of the code at the cursor, the text before it and, where it infills, behind it.

Typing changes the end of a prompt alone, so that what a generator has read stays read: kin are chosen by the lines
around the cursor's, cuts move in steps, and the suffix stands first where the model was trained so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codekin.completion.gap import Gap
from codekin.completion.snippets import Snippet, commented

if TYPE_CHECKING:
    from codekin.models.generation import Generator

CHARACTERS_A_TOKEN = 3
CUT_STEP = 1024
"""Characters by which the beginning of a long text is cut: it then stays in place for as many keys."""

KIN_SHARE, SUFFIX_SHARE = 4, 4
"""Kin get the fourth part of a prompt at most, and so does the text behind the cursor."""

LONGEST_BEGUN = 60
_BEGUN = re.compile(r" ?\w*\Z")


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ids to continue, and what the continuation begins with: the word that is being typed, with its blank."""

    ids: list[int]
    begins: str = ""


def prompt_for(
    generator: "Generator", gap: Gap, kin: Sequence[Snippet] = (), *, most: int = 1024, repository: str = ""
) -> Prompt:
    """A prompt of about `most` ids, cut at line borders.

    Kin stand as comments, or for StarCoder's family as files of the repository of that name. A model that cannot
    infill reads what stands below the cursor before what stands above: the names there are worth more than their order.
    """
    begins = begun(gap.prefix)
    settled = gap.prefix[: len(gap.prefix) - len(begins)]
    if generator.model.infill == "starcoder":
        return Prompt(_as_repository(generator, replace(gap, prefix=settled), kin, most, repository), begins)
    remarks = _kept(generator, commented(gap.language, kin), most // KIN_SHARE)
    room = most - len(remarks)
    if generator.model.infill:
        text = generator.vocabulary.decode(remarks) + window(settled, room * CHARACTERS_A_TOKEN)
        return Prompt(generator.infill(text, _behind(gap, room), most, suffix_first=True), begins)
    below = generator.vocabulary.encode_inside(f"{_behind(gap, room).strip()}\n\n")[: room // SUFFIX_SHARE]
    room -= len(below)
    read = _cut(generator.vocabulary.encode_inside(window(settled, room * CHARACTERS_A_TOKEN)), room)
    beginning = generator.prompt("") if generator.model.begin_id is not None else []
    return Prompt([*beginning, *remarks, *below, *read] or generator.prompt(""), begins)


def _as_repository(generator: "Generator", gap: Gap, kin: Sequence[Snippet], most: int, repository: str) -> list[int]:
    """Kin as files under their headings before the gap's own file, the best one last."""
    from codekin.models.infill import Origin, origin_ids  # noqa: PLC0415 - brings torch, which a generator has loaded

    ahead: list[int] = []
    for snippet in reversed(kin):
        name = repository if not ahead else ""
        ids = [*origin_ids(generator.vocabulary, Origin(name, snippet.path))]
        ids += generator.vocabulary.encode_inside(snippet.text + "\n")
        ahead += ids if len(ahead) + len(ids) <= most // KIN_SHARE else []
    room = most - len(ahead)
    origin = Origin("" if ahead else repository, gap.path)
    text = window(gap.prefix, room * CHARACTERS_A_TOKEN)
    return [*ahead, *generator.infill(text, _behind(gap, room), room, suffix_first=True, origin=origin)]


def _kept(generator: "Generator", text: str, most: int) -> list[int]:
    """The ids of a text's last lines, as many as fit."""
    ids = generator.vocabulary.encode_inside(text)
    while len(ids) > most:
        text = text[len(text) // 8 :].partition("\n")[2]
        ids = generator.vocabulary.encode_inside(text)
    return ids


def _cut(ids: list[int], most: int) -> list[int]:
    """The last ids, cut in steps of an eighth, so that the cut stays in place for a while."""
    step = max(1, most // 8)
    return ids[-(-(len(ids) - most) // step) * step :] if len(ids) > most else ids


def _behind(gap: Gap, room: int) -> str:
    """The text below the cursor's line, cut at a line border."""
    most = room * CHARACTERS_A_TOKEN // SUFFIX_SHARE
    if len(gap.suffix) <= most:
        return gap.suffix
    return gap.suffix[: gap.suffix.rfind("\n", 0, most) + 1] or gap.suffix[:most]


def begun(prefix: str) -> str:
    """The end of a prefix that a tokeniser joins with what follows: half a word, and the blank before it."""
    found = _BEGUN.search(prefix[-LONGEST_BEGUN:])
    return found.group() if found else ""


def window(text: str, most: int) -> str:
    """The end of a text, at most so many characters, from a line border that moves in steps."""
    excess = len(text) - most
    if excess <= 0:
        return text
    cut = -(-excess // CUT_STEP) * CUT_STEP
    border = text.find("\n", cut) + 1
    return text[border or cut :]
