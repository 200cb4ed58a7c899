"""Files that were cut off, put together from two, or edited half way are read like any other.

`CODEKIN_FUZZ_EXAMPLES` draws more of them, and `CODEKIN_FUZZ_FILES` names folders with further files.
"""

import os
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codekin.parsing import (
    count_errors,
    cut_chunks,
    detect_language,
    read_cursor_context,
    read_local_names,
    rename_locals,
    tokenize,
)
from codekin.parsing.secrets import contains_secret

EXAMPLES = int(os.environ.get("CODEKIN_FUZZ_EXAMPLES", "40"))
FOLDERS = [Path(__file__).parents[2] / "examples", *map(Path, os.environ.get("CODEKIN_FUZZ_FILES", "").split())]
LONGEST = 200_000
SECONDS = 20.0
"""Processor seconds for one text by all readers; the longest take a tenth of it."""


def read_files() -> list[tuple[str, str]]:
    """Path and text of the files of known languages."""
    paths = [
        path for folder in FOLDERS for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()
    ]
    found = [
        (path.name, path.read_text(encoding="utf-8", errors="replace"))
        for path in paths
        if path.stat().st_size < LONGEST
    ]
    return [(name, text) for name, text in found if detect_language(name, text)]


FILES = read_files()


@st.composite
def spliced(draw: st.DrawFn) -> tuple[str, str, str]:
    """A name, its language and a text: the beginning of one file, some other text, the end of another one."""
    name, first = draw(st.sampled_from(FILES))
    _, second = draw(st.sampled_from(FILES))
    head = first[: draw(st.integers(0, len(first)))]
    tail = second[draw(st.integers(0, len(second))) :]
    between = draw(
        st.sampled_from(
            ["", "\n", '"""', '"', "/*", "#if X\n", "{", ")", "end\n", "~s(", 'R"x(', "\\", "\r", "\0", "é", "😀"]
        )
    )
    text = (
        head
        + between
        + draw(st.sampled_from([tail, "", tail[::-1], tail.replace("\n", "\r\n"), tail.replace(" ", "")]))
    )
    return name, detect_language(name, text) or detect_language(name, first) or "cpp", text


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(spliced(), st.floats(0, 1))
def test_spliced_files_are_read_in_bounded_time(case: tuple[str, str, str], where: float) -> None:
    """No reader raises, chunks lie within the text in order, tokens cover it, and names stay names."""
    name, language, text = case
    began = time.thread_time()
    chunks, problems = cut_chunks(name, text, language)
    lines = text.count("\n") + text.count("\r") + 1
    assert all(1 <= chunk.start_line <= chunk.end_line <= lines for chunk in chunks)
    assert all(chunk.name and chunk.text.strip() for chunk in chunks)
    assert [chunk.start_line for chunk in chunks] == sorted(chunk.start_line for chunk in chunks)
    assert all(len(problem) < 500 for problem in problems)
    tokens = tokenize(language, text)
    assert "".join(token.text for token in tokens) == text
    context = read_cursor_context(language, text, int(where * len(text)))
    assert context.kind in ("code", "comment", "string")
    names = read_local_names(language, text)
    renamed = rename_locals(text, language, {each: f"{each}_x" for each in names[:20]})
    assert len(renamed) >= len(text)
    assert count_errors(language, text) >= 0
    assert contains_secret(text) in (True, False)
    assert time.thread_time() - began < SECONDS
