"""Generates text from a GGUF file by llama.cpp's server, which runs inside this process (xllamacpp).

Prompts go to the engine as token ids, so that a user's text never becomes a mark of infilling. The engine also opens a
port of the loopback; it requires a key that only this process has. It checks no drafts and scores no given lines.
"""

import json
import queue
import secrets
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import llguidance
import psutil

from codekin.errors import CheckpointError, ModelError, UsageError
from codekin.models.catalogue import ModelSpec, model_from_header
from codekin.models.generation.prompts import TokenGenerator, detect_infill
from codekin.models.gguf_files import GGUFHeader, read_gguf_header
from codekin.models.planner import PREFILL_TOKENS, format_gigabytes, memory_need
from codekin.models.queues import count_cores
from codekin.models.vocabulary import ModelVocabulary, TokenTextStream, strip_surrogates
from codekin.protocols import DraftFunction, GeneratedText, GenerationStep, Sampling, TokenChoice

MAX_CONTEXT, MIN_CONTEXT = 8192, 1024
"""Tokens of prompt and text that memory is taken for, at most and at least."""

PROMPT_CACHE_MIB = 256
"""Memory in which the engine keeps the prompts of other files."""

POLL_SECONDS = 0.02
"""Seconds after which a caller may leave while the engine reads a prompt."""

ALL_GPU_LAYERS = 999
_BYTE_LEVEL, _SENTENCEPIECE = "gpt2", "llama"
_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 2, 3, 4, 5
"""Types of tokens in `tokenizer.ggml.token_type`."""

_LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {
    **dict.fromkeys(("qwen2", "stablelm2"), (_LLAMA3_PATTERN % "",)),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe"), (_LLAMA3_PATTERN % "{1,3}",)),
    "deepseek-coder": (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"),
    **dict.fromkeys(("starcoder", "refact", "command-r", "smollm", "codeshell"), (r"\p{N}",)),
}
"""How a text is split before it is encoded, by `tokenizer.ggml.pre` as in llama.cpp's llama-vocab.cpp."""

_GPT2_SPLIT = frozenset({"starcoder", "refact", "command-r", "smollm", "codeshell"})
"""Those that GPT-2's expression splits further, as it does where nothing is known."""


class GGUFGenerator(TokenGenerator):
    """A GGUF file with its vocabulary and the engine that runs it; one request at a time."""

    def __init__(self, model: ModelSpec, path: Path, header: GGUFHeader, context: int, threads: int = 0) -> None:
        """`context` are the tokens that memory is taken for; `threads` 0 takes the cores of the processor.

        Raises ModelError where the engine is not installed or refuses the file.
        """
        self.vocabulary = ModelVocabulary(path, vocabulary_source(header))
        self.model = detect_infill(model, self.vocabulary)
        self.name = model.key
        self.device_bytes = header.size
        self._context = context
        self._engine = _start_engine(path, context, threads or core_count())

    @property
    def context(self) -> int:
        """The most tokens of prompt and text together."""
        return self._context

    def steps(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        draft: DraftFunction | None = None,  # noqa: ARG002 - not checked
    ) -> Iterator[GenerationStep | GeneratedText]:
        """Steps with new text, many of them empty while the prompt is read; the last value is the GeneratedText."""
        self.require_context(ids, sampling)
        call = _EngineCall(self._engine, _request_body(ids, sampling))
        text, tokens, choices, reused, finish = TokenTextStream(sampling.stop), list[int](), list[TokenChoice](), 0, ""
        try:
            for event in call.events():
                reused = max(reused, _count(event, "prompt_progress", "cache"))
                part = _read_event(event, is_scored=sampling.logprobs is not None)
                new_text = text.push(strip_surrogates(part.text).encode())
                tokens += part.tokens
                choices += part.choices
                ended = any(token in self.model.stop_ids for token in part.tokens)
                finish = "stop" if text.stopped or ended else part.finish
                new_text += text.finish() if finish and not text.stopped else ""
                yield GenerationStep(new_text, part.tokens, part.choices, finish)
                if finish:
                    break
        finally:
            call.cancel()
        yield GeneratedText(text.text, tuple(tokens), finish or "stop", len(ids), reused, 0, tuple(choices))


def load_gguf(model: ModelSpec, path: Path, memory: int, threads: int = 0) -> GGUFGenerator:
    """The generator of a file, with as long a context as fits into `memory` bytes.

    Raises ModelError where it does not fit or cannot run, CheckpointError where it is damaged.
    """
    header = read_gguf_header(path, with_arrays=True)
    model = model_from_header(header, model)
    for context in (MAX_CONTEXT, MAX_CONTEXT // 2, MAX_CONTEXT // 4, MIN_CONTEXT):
        if memory_need(model, "float16", context).total <= memory:
            return GGUFGenerator(model, path, header, min(context, model.context or context), threads)
    needed = memory_need(model, "float16", MIN_CONTEXT).total
    raise ModelError(
        f"{model.key} takes {format_gigabytes(needed)} and {format_gigabytes(memory)} are free; "
        "close other programs or choose a smaller file."
    )


def core_count() -> int:
    """The cores that this process may use: hyper-threads do not make products faster."""
    allowed = count_cores()
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def vocabulary_source(header: GGUFHeader) -> dict[str, Any]:
    """A tokenizer.json for the vocabulary of a file. Raises CheckpointError where it has none that is known."""
    values = header.values
    tokens, kinds = values.get("tokenizer.ggml.tokens"), values.get("tokenizer.ggml.token_type")
    kind = values.get("tokenizer.ggml.model")
    if not isinstance(tokens, list) or not tokens or kind not in (_BYTE_LEVEL, _SENTENCEPIECE):
        raise CheckpointError(f"{header.path} has a {kind} vocabulary, which is not supported; choose another file.")
    kinds = kinds if isinstance(kinds, list) and len(kinds) == len(tokens) else [1] * len(tokens)
    vocabulary = {str(token): at for at, token in enumerate(tokens) if kinds[at] != _UNUSED}
    special = [
        {"content": str(token), "id": at, "special": True}
        for at, token in enumerate(tokens)
        if kinds[at] in (_UNKNOWN, _CONTROL, _USER_DEFINED) and token
    ]
    make = _byte_level_source if kind == _BYTE_LEVEL else _sentencepiece_source
    return {"version": "1.0", "added_tokens": special, **make(header, vocabulary)}


def _byte_level_source(header: GGUFHeader, vocabulary: dict[str, int]) -> dict[str, Any]:
    """GPT-2's kind: merges, and expressions that split a text first."""
    name = str(header.values.get("tokenizer.ggml.pre", ""))
    merges = [str(merge).split(" ", 1) for merge in header.values.get("tokenizer.ggml.merges") or ()]
    known = [pair for pair in merges if len(pair) == 2 and {*pair, "".join(pair)} <= vocabulary.keys()]
    splits = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in _SPLITS.get(name, ())
    ]
    uses_expression = name in _GPT2_SPLIT or not splits
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": uses_expression}
    return {
        "model": {"type": "BPE", "vocab": vocabulary, "merges": known},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, last]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True},
    }


def _sentencepiece_source(header: GGUFHeader, vocabulary: dict[str, int]) -> dict[str, Any]:
    """Llama's kind: scores in place of merges; two tokens are joined where the whole is one, the best first."""
    scores = header.values.get("tokenizer.ggml.scores")
    if not isinstance(scores, list) or len(scores) <= max(vocabulary.values()):
        raise CheckpointError(f"{header.path} lacks the scores of its vocabulary; fetch it again.")
    pairs = [
        (-scores[number], vocabulary[token[:at]], vocabulary[token[at:]], [token[:at], token[at:]])
        for token, number in vocabulary.items()
        for at in range(1, min(len(token), 64))
        if token[:at] in vocabulary and token[at:] in vocabulary
    ]
    unknown = next((token for token in ("<unk>", "<UNK>") if token in vocabulary), None)
    space = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    return {
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": [pair for *_, pair in sorted(pairs)],
            "unk_token": unknown,
            "fuse_unk": True,
            "byte_fallback": True,
        },
        "normalizer": {"type": "Sequence", "normalizers": space},
    }


def _start_engine(path: Path, context: int, threads: int) -> Any:
    try:
        import xllamacpp  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ModelError(f"xllamacpp cannot be loaded ({error}); install `codekin[gguf]` again.") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    for name, value in _engine_settings(context).items():
        setattr(params, name, value)
    for processor in (params.cpuparams, params.cpuparams_batch):
        setattr(processor, "n_threads", threads)  # noqa: B010 - an attribute of a compiled class
    try:
        return xllamacpp.Server(params)
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"{path} cannot be run ({error}); fetch it again or choose another file.") from error


def _engine_settings(context: int) -> dict[str, Any]:
    """llama.cpp's parameters: one request at a time, prompts read in slices, a port that no other process can use."""
    return {
        "n_ctx": context,
        "n_parallel": 1,
        "n_batch": PREFILL_TOKENS,
        "n_ubatch": PREFILL_TOKENS,
        "n_gpu_layers": ALL_GPU_LAYERS,
        "cache_ram_mib": PROMPT_CACHE_MIB,
        "n_threads_http": 1,
        "port": 0,
        "api_keys": [secrets.token_hex(32)],
        **dict.fromkeys(("ui", "endpoint_slots", "endpoint_props", "endpoint_metrics"), False),
        **dict.fromkeys(("warmup", "enable_chat_template"), False),
        "verbosity": -1,
    }


class _EngineCall:
    """One request in a thread of its own, since the engine pushes what the caller pulls."""

    def __init__(self, engine: Any, body: dict[str, Any]) -> None:
        self._engine, self._body = engine, body
        self._events: queue.SimpleQueue[dict[str, Any] | BaseException | None] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="codekin-gguf", daemon=True)
        self._thread.start()

    def events(self) -> Iterator[dict[str, Any]]:
        """What the engine says, and often an empty event; ends with the request."""
        while True:
            try:
                event = self._events.get(timeout=POLL_SECONDS)
            except queue.Empty:
                yield {}
                continue
            if event is None:
                return
            if isinstance(event, BaseException):
                raise ModelError(f"The GGUF engine failed ({event}); choose another file.") from event
            yield event

    def cancel(self) -> None:
        """Ends the request within a token, and waits for that."""
        self._cancelled.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            answer = self._engine.handle_completions(self._body, self._take)
            if isinstance(answer, dict):
                self._events.put(answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller's thread raises it
            self._events.put(error)
        self._events.put(None)

    def _take(self, event: Any) -> bool:
        """Passes an event on; True ends the request."""
        if isinstance(event, dict):
            self._events.put(event)
        return self._cancelled.is_set()


def _request_body(ids: Sequence[int], sampling: Sampling) -> dict[str, Any]:
    body: dict[str, Any] = {
        "prompt": list(ids),
        "n_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": 0.0,
        "repeat_penalty": sampling.repetition_penalty,
        "repeat_last_n": MAX_CONTEXT,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logit_bias": [[token, False if bias <= -100 else bias] for token, bias in sampling.logit_bias],
        "samplers": ["penalties", "top_k", "top_p", "temperature"],
        "n_probs": max(1, sampling.logprobs or 0),
        "cache_prompt": True,
        "stream": True,
        "return_progress": True,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed % (1 << 32)
    if grammar := _grammar(sampling):
        # The engine generates freely where it cannot read a grammar.
        if problem := llguidance.LLMatcher.validate_grammar(grammar):
            raise UsageError(f"The grammar cannot be used ({' '.join(problem.split())[:300]}); correct it.")
        body["grammar"] = f"%llguidance {{}}\n{grammar}"
    return body


def _grammar(sampling: Sampling) -> str:
    """What constrains the text, in Lark as llguidance reads it; empty for nothing."""
    if sampling.begins:
        return f"start: TEXT\nTEXT: {json.dumps(sampling.begins)} /(?s:.*)/"
    if sampling.regex:
        return "start: /" + sampling.regex.replace("\\/", "/").replace("/", "\\/") + "/"
    return sampling.grammar or ""


def _read_event(event: dict[str, Any], *, is_scored: bool) -> GenerationStep:
    """The text and tokens of an event; an error of the engine is raised."""
    if error := event.get("error"):
        message = str(error.get("message") if isinstance(error, dict) else error)
        if isinstance(error, dict) and error.get("code") == 400:
            raise UsageError(f"The GGUF engine refuses the request: {message[:300].rstrip('.')}.")
        raise ModelError(f"The GGUF engine failed: {message[:300].rstrip('.')}.")
    choice = (event.get("choices") or [{}])[0]
    rows = (choice.get("logprobs") or {}).get("content") or ()
    choices = tuple(_read_choice(row) for row in rows) if is_scored else ()
    tokens = tuple(int(row["id"]) for row in rows)
    return GenerationStep(str(choice.get("text") or ""), tokens, choices, str(choice.get("finish_reason") or ""))


def _read_choice(row: dict[str, Any]) -> TokenChoice:
    rivals = tuple((_token_text(rival), float(rival["logprob"])) for rival in row.get("top_logprobs") or ())
    return TokenChoice(int(row["id"]), _token_text(row), float(row["logprob"]), rivals)


def _token_text(row: dict[str, Any]) -> str:
    return bytes(row.get("bytes") or ()).decode("utf-8", "replace")


def _count(event: dict[str, Any], part: str, name: str) -> int:
    return int((event.get(part) or {}).get(name) or 0)
