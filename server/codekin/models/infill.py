"""Assembles prompts from token ids: infilling between a prefix and a suffix, and chats.

Each family's special ids are put in by hand; the user's text is encoded without any, so that
no text can forge them. Formats: CodeLlama (arXiv 2308.12950), StarCoder (arXiv 2305.06161),
StarCoder2 (arXiv 2402.19173), Qwen2.5-Coder's repository.
"""

from dataclasses import dataclass, replace
from itertools import chain

from codekin.errors import ModelError, UsageError
from codekin.models.catalogue import Model
from codekin.models.vocabulary import Vocabulary

_NAMES = {
    "starcoder": ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    "qwen2": ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    "codellama": ("▁<PRE>", "▁<SUF>", "▁<MID>"),
}
_OTHER_NAMES = {"<fim_prefix>": "<fim-prefix>", "<fim_suffix>": "<fim-suffix>", "<fim_middle>": "<fim-middle>"}

SUFFIX_FIRST = frozenset({"codellama", "starcoder"})
"""Families of which half the gaps in training stood as prefix mark, suffix mark, suffix, middle mark, prefix."""

_FAMILIES = {"llama": "codellama", "gpt_bigcode": "starcoder", "starcoder2": "starcoder"}
"""The family of an architecture's models that infill; Qwen2's general ones have the marks but not the training."""

_ORIGIN_MARKS = (("<reponame>", "<filename>"), ("<repo_name>", "<file_sep>"))
"""What StarCoder and StarCoder2 have before a repository's name and before a file's path."""

CUTS = 8
"""A prompt that is too long is cut by eighths of its room: the cut then stays in place while the user types, and
what a cache holds of the prompt stays true."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a text comes from; models that were trained with such a heading see it. Either may be empty."""

    repository: str = ""
    path: str = ""


def with_infill(model: Model, vocabulary: Vocabulary) -> Model:
    """A model whose row says nothing of infilling, as its vocabulary shows it: by its family's marks."""
    family = _FAMILIES.get(model.architecture, "")
    if model.infill or not family:
        return model
    marks = [
        vocabulary.special.get(name, vocabulary.special.get(_OTHER_NAMES.get(name, ""))) for name in _NAMES[family]
    ]
    if any(mark is None or mark >= model.vocabulary for mark in marks):
        return model
    end = vocabulary.special.get("▁<EOT>")
    stops = model.stop_ids if end is None or end in model.stop_ids else (*model.stop_ids, end)
    return replace(model, infill=family, stop_ids=stops)


def prompt_ids(vocabulary: Vocabulary, model: Model, text: str, chat: bool = False) -> list[int]:
    """Ids that a text is continued from, in the model's chat format when asked for."""
    begin = [] if model.begin_id is None else [model.begin_id]
    if not chat:
        ids = [*begin, *vocabulary.encode(text)]
        # A model needs one token to go on from, even for an empty prompt.
        return ids or [model.end_id or 0]
    if model.chat == "llama2":
        return [*begin, *vocabulary.encode(f"[INST] {text.strip()} [/INST]")]
    raise ModelError(f"{model.key} follows no instructions; ask without chat, or choose codellama_7b.")


def infill_ids(  # noqa: PLR0913 - a gap, and how it is put to the model
    vocabulary: Vocabulary,
    model: Model,
    prefix: str,
    suffix: str,
    room: int | None = None,
    *,
    suffix_first: bool = False,
    origin: Origin | None = None,
) -> list[int]:
    """Ids whose continuation is the text between prefix and suffix.

    With `room` (in tokens) the prefix loses its beginning and the suffix its end, one token of
    the suffix for three of the prefix. With `suffix_first` the prompt ends with the prefix, so
    that typing adds to its end, where the model is of a family in SUFFIX_FIRST; CodeLlama saw
    no words cut in two in this order. Raises ModelError for a model that cannot infill.
    """
    if model.infill not in _NAMES:
        raise ModelError(f"{model.key} cannot infill; leave the suffix out, or choose another model.")
    before, after, middle = (_special(vocabulary, name) for name in _NAMES[model.infill])
    begin = [] if model.begin_id is None else [model.begin_id]
    heading = origin_ids(vocabulary, origin) if origin else []
    head = vocabulary.encode_inside(prefix) if heading else vocabulary.encode(prefix)
    tail = vocabulary.encode_inside(suffix)
    if room is not None:
        head, tail = _fitted(head, tail, room - len(begin) - len(heading) - 3)
    if suffix_first and model.infill in SUFFIX_FIRST:
        return [*begin, before, after, *tail, middle, *heading, *head]
    return [*begin, before, *heading, *head, after, *tail, middle]


def origin_ids(vocabulary: Vocabulary, origin: Origin) -> list[int]:
    """The heading of a file: repository and path on a line; empty where the vocabulary has no marks for it."""
    for marks in _ORIGIN_MARKS:
        if all(mark in vocabulary.special for mark in marks):
            named = zip(marks, (origin.repository, origin.path), strict=True)
            parts = [[vocabulary.special[mark], *vocabulary.encode_inside(name)] for mark, name in named if name]
            return [*chain.from_iterable(parts), *vocabulary.encode_inside("\n")] if parts else []
    return []


def _fitted(head: list[int], tail: list[int], room: int) -> tuple[list[int], list[int]]:
    if room < 1:
        raise UsageError("The model's context has no room for a prompt; ask for fewer tokens.")
    step = max(1, room // CUTS)
    spare = max(room // 4, (room - len(head)) // step * step)
    kept_tail = tail if len(tail) <= spare else tail[:spare]
    excess = len(head) - (room - len(kept_tail))
    return head[-(-excess // step) * step :] if excess > 0 else head, kept_tail


def _special(vocabulary: Vocabulary, name: str) -> int:
    """StarCoder's older tokenizers write their names with hyphens."""
    other = _OTHER_NAMES.get(name)
    if name not in vocabulary.special and other in vocabulary.special:
        return vocabulary.special[other]
    return vocabulary.token_id(name)
