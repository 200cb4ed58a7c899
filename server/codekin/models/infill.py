"""Assembles prompts from token ids: infilling between a prefix and a suffix, and chats.

Each family's special ids are put in by hand; the user's text is encoded without any, so that
no text can forge them. Formats: CodeLlama (arXiv 2308.12950), StarCoder (arXiv 2305.06161),
Qwen2.5-Coder's repository.
"""

from codekin.errors import ModelError, UsageError
from codekin.models.catalogue import Model
from codekin.models.vocabulary import Vocabulary

_NAMES = {
    "starcoder": ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    "qwen2": ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    "codellama": ("▁<PRE>", "▁<SUF>", "▁<MID>"),
}
_OTHER_NAMES = {"<fim_prefix>": "<fim-prefix>", "<fim_suffix>": "<fim-suffix>", "<fim_middle>": "<fim-middle>"}


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


def infill_ids(vocabulary: Vocabulary, model: Model, prefix: str, suffix: str, room: int | None = None) -> list[int]:
    """Ids whose continuation is the text between prefix and suffix.

    With `room` (in tokens) the prefix loses its beginning and the suffix its end, one token of
    the suffix for three of the prefix. Raises ModelError for a model that cannot infill.
    """
    if model.infill not in _NAMES:
        raise ModelError(f"{model.key} cannot infill; leave the suffix out, or choose another model.")
    before, after, middle = (_special(vocabulary, name) for name in _NAMES[model.infill])
    begin = [] if model.begin_id is None else [model.begin_id]
    head, tail = vocabulary.encode(prefix), vocabulary.encode_inside(suffix)
    if room is not None:
        head, tail = _fitted(head, tail, room - len(begin) - 3)
    return [*begin, before, *head, after, *tail, middle]


def _fitted(head: list[int], tail: list[int], room: int) -> tuple[list[int], list[int]]:
    if room < 1:
        raise UsageError("The model's context has no room for a prompt; ask for fewer tokens.")
    kept_tail = tail[: max(room // 4, room - len(head))]
    return head[max(0, len(head) - (room - len(kept_tail))) :], kept_tail


def _special(vocabulary: Vocabulary, name: str) -> int:
    """StarCoder's older tokenizers write their names with hyphens."""
    other = _OTHER_NAMES.get(name)
    if name not in vocabulary.special and other in vocabulary.special:
        return vocabulary.special[other]
    return vocabulary.token_id(name)
