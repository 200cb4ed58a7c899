"""Builds prompts as token ids: infilling between a prefix and a suffix, and chat instructions.

Formats: CodeLlama (arXiv 2308.12950), StarCoder (arXiv 2305.06161), StarCoder2 (arXiv 2402.19173), Qwen2.5-Coder.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from codekin.errors import UsageError
from codekin.models.catalogue import ModelSpec
from codekin.models.vocabulary import ModelVocabulary
from codekin.protocols import (
    ChatMessage,
    DraftFunction,
    FileOrigin,
    GeneratedText,
    GenerationRequest,
    GenerationStep,
    Sampling,
)

_INFILL_TOKENS = {
    "starcoder": ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    "qwen2": ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    "codellama": ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    "deepseek": ("<\uff5cfim▁begin\uff5c>", "<\uff5cfim▁hole\uff5c>", "<\uff5cfim▁end\uff5c>"),
}
_HYPHENATED_TOKENS = {"<fim_prefix>": "<fim-prefix>", "<fim_suffix>": "<fim-suffix>", "<fim_middle>": "<fim-middle>"}

SUFFIX_FIRST_FAMILIES = frozenset({"codellama", "starcoder"})
"""Families of which half the gaps in training stood as prefix mark, suffix mark, suffix, middle mark, prefix."""

_INFILL_FAMILIES = {
    "llama": ("codellama", "deepseek", "starcoder"),
    "gpt_bigcode": ("starcoder",),
    "starcoder": ("starcoder",),
    "starcoder2": ("starcoder",),
    "qwen2": ("qwen2",),
}
"""Families that an architecture's models may infill by; `starcoder` is what llama.cpp calls gpt_bigcode."""

_STOP_TOKENS = {
    "codellama": ("▁<EOT>",),
    "starcoder": ("<|endoftext|>", "<file_sep>"),
    "qwen2": ("<|endoftext|>", "<|im_end|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
    "deepseek": ("<\uff5cend▁of▁sentence\uff5c>",),
}
"""What a family writes at the end of a gap."""

_ORIGIN_TOKENS = (
    ("<reponame>", "<filename>"),
    ("<repo_name>", "<file_sep>"),
    ("<|repo_name|>", "<|file_sep|>"),
)
"""What StarCoder, StarCoder2 and Qwen2.5-Coder have before a repository's name and before a file's path."""

PROMPT_CUTS = 8
"""A prompt that is too long is cut by eighths of its room: the cut then stays in place while the user types, and
what a cache holds of the prompt stays true."""


TokenLogProbabilities = list[list[float]]
"""The natural log-probability of each token of each continuation."""


class TokenGenerator(ABC):
    """A generator whose prompts are token ids: it has the vocabulary."""

    name: str
    model: ModelSpec
    vocabulary: ModelVocabulary
    device_bytes: int

    @property
    def scores_lines(self) -> bool:
        """Whether `log_probabilities` works."""
        return False

    @property
    def puts_suffix_first(self) -> bool:
        """Whether a prompt of `infill` ends with the text before the gap if that is wanted."""
        return self.model.infill in SUFFIX_FIRST_FAMILIES

    @property
    @abstractmethod
    def context(self) -> int:
        """The most tokens of prompt and text together."""

    @abstractmethod
    def steps(
        self, ids: Sequence[int], sampling: Sampling, draft: DraftFunction | None = None
    ) -> Iterator[GenerationStep | GeneratedText]:
        """Steps with new text, many of them empty; the last value is the GeneratedText."""

    def prompt(self, text: str, chat: bool = False) -> list[int]:
        """Ids of a text to continue."""
        return prompt_ids(self.vocabulary, self.model, text, chat)

    def infill(
        self,
        prefix: str,
        suffix: str,
        limit: int | None = None,
        *,
        suffix_first: bool = False,
        origin: FileOrigin | None = None,
    ) -> list[int]:
        """Ids of a gap to fill, as `infill_ids` puts it."""
        return infill_ids(self.vocabulary, self.model, prefix, suffix, limit, suffix_first=suffix_first, origin=origin)

    def file_heading(self, origin: FileOrigin) -> list[int]:
        """Ids of the heading of a file in the prompt, as `origin_ids` puts it."""
        return origin_ids(self.vocabulary, origin)

    def log_probabilities(
        self, ids: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> Iterator[TokenLogProbabilities]:
        """The scores of continuations, which share what they begin with; yields [] until the last value."""
        raise NotImplementedError(f"{self.name} scores no {len(continuations)} lines behind {len(ids)} tokens.")

    def generate_steps(self, request: GenerationRequest) -> Iterator[GenerationStep | GeneratedText]:
        """Steps with new text, many of them empty during the prefill; the last value is the GeneratedText."""
        return self.steps(self.request_ids(request), request.sampling, request.draft)

    def generate_batch(self, requests: Sequence[GenerationRequest]) -> Iterator[GenerationStep | list[GeneratedText]]:
        """Empty steps, between which it can be left; the last value is the texts, in the order of the requests.

        One text after another, where a generator has no way to write them together.
        """
        texts: list[GeneratedText] = []
        for request in requests:
            for step in self.generate_steps(request):
                texts += [step] if isinstance(step, GeneratedText) else []
                yield GenerationStep()
        yield texts

    def request_ids(self, request: GenerationRequest) -> list[int]:
        """Ids of what a request wants continued or filled."""
        if request.prompt_ids:
            return self._checked_ids(request.prompt_ids)
        if request.messages:
            return chat_ids(self.vocabulary, self.model, request.messages)
        if request.suffix is None:
            return self.prompt(request.prompt, request.chat)
        return self.infill(request.prompt, request.suffix, self.context - request.sampling.max_tokens)

    def _checked_ids(self, ids: Sequence[int]) -> list[int]:
        if (highest := max(ids)) >= self.vocabulary.size:
            raise UsageError(
                f"`prompt` holds the token {highest}, but {self.name} has {self.vocabulary.size}: "
                "send texts, or ids of its own tokenizer."
            )
        return list(ids)

    def require_context(self, ids: Sequence[int], sampling: Sampling) -> None:
        """Raise UsageError where prompt and text together are longer than the model reads."""
        if len(ids) + sampling.max_tokens > self.context:
            raise UsageError(
                f"The prompt has {len(ids)} tokens and {sampling.max_tokens} are asked for, but {self.name} reads "
                f"{self.context}; shorten the prompt or ask for fewer."
            )


def detect_infill(model: ModelSpec, vocabulary: ModelVocabulary) -> ModelSpec:
    """A model with what its vocabulary shows of infilling and chat, where its row says nothing of it.

    Qwen2's general models have the marks but not the training: only those named after code infill.
    """
    if not model.chat and {"<|im_start|>", "<|im_end|>"} <= vocabulary.special.keys():
        model = replace(model, chat="chatml")
    if model.architecture == "qwen2" and "code" not in model.key.lower():
        return model
    known = (family for family in _INFILL_FAMILIES.get(model.architecture, ()) if _has_marks(family, model, vocabulary))
    family = model.infill or next(known, "")
    ends = [vocabulary.special[name] for name in _STOP_TOKENS.get(family, ()) if name in vocabulary.special]
    return replace(model, infill=family, stop_ids=tuple(dict.fromkeys([*model.stop_ids, *ends]))) if family else model


def _has_marks(family: str, model: ModelSpec, vocabulary: ModelVocabulary) -> bool:
    marks = [
        vocabulary.special.get(name, vocabulary.special.get(_HYPHENATED_TOKENS.get(name, "")))
        for name in _INFILL_TOKENS[family]
    ]
    return all(mark is not None and mark < model.vocabulary for mark in marks)


def prompt_ids(vocabulary: ModelVocabulary, model: ModelSpec, text: str, chat: bool = False) -> list[int]:
    """Ids that a text is continued from, in the model's chat format if wanted."""
    begin = [] if model.begin_id is None else [model.begin_id]
    if not chat:
        ids = [*begin, *vocabulary.encode(text)]
        # A model needs one token to go on from, even for an empty prompt.
        return ids or [model.end_id or 0]
    return chat_ids(vocabulary, model, [ChatMessage("user", text)])


def chat_ids(vocabulary: ModelVocabulary, model: ModelSpec, messages: Sequence[ChatMessage]) -> list[int]:
    """Ids of a conversation in the model's chat format, after which it answers.

    Raises UsageError for a model that was not trained to follow instructions.
    """
    begin = [] if model.begin_id is None else [model.begin_id]
    if model.chat == "llama2":
        return _llama2_ids(vocabulary, model, messages)
    if model.chat == "chatml":
        start, end = (vocabulary.token_id(mark) for mark in ("<|im_start|>", "<|im_end|>"))
        said = [
            [start, *vocabulary.encode(f"{each.role}\n{each.text}"), end, *vocabulary.encode("\n")] for each in messages
        ]
        return [*begin, *chain.from_iterable(said), start, *vocabulary.encode("assistant\n")]
    raise UsageError(f"{model.key} follows no instructions; ask without chat, or choose codellama_7b.")


def _llama2_ids(vocabulary: ModelVocabulary, model: ModelSpec, messages: Sequence[ChatMessage]) -> list[int]:
    """Llama 2's turns: instructions in [INST], the system's text in the first of them, each answer with its end."""
    begin, end = ([] if mark is None else [mark] for mark in (model.begin_id, model.end_id))
    system = "\n".join(each.text.strip() for each in messages if each.role == "system")
    ids: list[int] = []
    waiting = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system else ""
    for each in messages:
        if each.role == "user":
            waiting += each.text.strip()
        elif each.role == "assistant":
            ids += [*begin, *vocabulary.encode(f"[INST] {waiting} [/INST] {each.text.strip()} "), *end]
            waiting = ""
    return [*ids, *begin, *vocabulary.encode(f"[INST] {waiting} [/INST]")]


def infill_ids(  # noqa: PLR0913 - a gap, and how it is put to the model
    vocabulary: ModelVocabulary,
    model: ModelSpec,
    prefix: str,
    suffix: str,
    limit: int | None = None,
    *,
    suffix_first: bool = False,
    origin: FileOrigin | None = None,
) -> list[int]:
    """Ids whose continuation is the text between prefix and suffix.

    With `room` (in tokens) the prefix loses its beginning and the suffix its end, one token of
    the suffix for three of the prefix. With `suffix_first` the prompt ends with the prefix, so
    that typing adds to its end, where the model is of a family in SUFFIX_FIRST; CodeLlama saw
    no words cut in two in this order. Raises UsageError for a model that cannot infill.
    """
    if model.infill not in _INFILL_TOKENS:
        raise UsageError(
            f"`suffix` is nothing for {model.key}, which cannot infill; leave the suffix out, or choose another model."
        )
    before, after, middle = (_special_token_id(vocabulary, name) for name in _INFILL_TOKENS[model.infill])
    begin = [] if model.begin_id is None else [model.begin_id]
    heading = origin_ids(vocabulary, origin) if origin else []
    head = vocabulary.encode_continuation(prefix) if heading else vocabulary.encode(prefix)
    tail = vocabulary.encode_continuation(suffix)
    if limit is not None:
        head, tail = _fit_to_limit(head, tail, limit - len(begin) - len(heading) - 3)
    if model.infill == "qwen2":  # was trained with headings before the marks of a gap
        begin, heading = [*begin, *heading], []
    if suffix_first and model.infill in SUFFIX_FIRST_FAMILIES:
        return [*begin, before, after, *tail, middle, *heading, *head]
    return [*begin, before, *heading, *head, after, *tail, middle]


def origin_ids(vocabulary: ModelVocabulary, origin: FileOrigin) -> list[int]:
    """The heading of a file: repository and path on a line; empty where the vocabulary has no marks for it."""
    for marks in _ORIGIN_TOKENS:
        if all(mark in vocabulary.special for mark in marks):
            named = zip(marks, (origin.repository, origin.path), strict=True)
            parts = [[vocabulary.special[mark], *vocabulary.encode_continuation(name)] for mark, name in named if name]
            line_end = vocabulary.encode_continuation("\n")
            if marks == _ORIGIN_TOKENS[-1]:  # Qwen's repository name is on a line of its own
                parts = [[*part, *line_end] for part in parts]
                line_end = []
            return [*chain.from_iterable(parts), *line_end] if parts else []
    return []


def _fit_to_limit(head: list[int], tail: list[int], limit: int) -> tuple[list[int], list[int]]:
    if limit < 1:
        raise UsageError("The model's context has no room for a prompt; ask for fewer tokens.")
    step = max(1, limit // PROMPT_CUTS)
    spare = max(limit // 4, (limit - len(head)) // step * step)
    kept_tail = tail if len(tail) <= spare else tail[:spare]
    excess = len(head) - (limit - len(kept_tail))
    return head[-(-excess // step) * step :] if excess > 0 else head, kept_tail


def _special_token_id(vocabulary: ModelVocabulary, name: str) -> int:
    """StarCoder's older tokenizers write their names with hyphens."""
    other = _HYPHENATED_TOKENS.get(name)
    if name not in vocabulary.special and other in vocabulary.special:
        return vocabulary.special[other]
    return vocabulary.token_id(name)
