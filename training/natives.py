"""Pairs a native function with the Erlang or Elixir code that it stands behind.

A library of native code says which function answers which call: `ErlNifFunc` tables and their
like name an Erlang function and the C or C++ one, AtomVM's `nifs.gperf` does it in two steps, and
`#[rustler::nif]` marks Rust functions that keep their name. So these are pairs across languages that
nobody had to guess. The other side is the stub with its documentation and the callers of the stub.
"""

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from corpus import SourceFile
from functions import Function, functions_of

BEAM = frozenset({"elixir", "erlang"})
NATIVE = frozenset({"c", "cpp", "rust"})
MOST_CALLERS = 3
LONGEST_STUB = 900
_ROW = re.compile(r'\{\s*"(\w+[?!]?)"\s*,\s*\d+\s*,\s*&?(?:\([^)]*\)\s*)?([\w:]+)')
_GPERF = re.compile(r"^(\w+):(\w+)/\d+\s*,\s*&(\w+)", re.MULTILINE)
_STRUCT = re.compile(r"struct Nif (\w+)\s*=\s*\{[^}]*?nif_ptr\s*=\s*(\w+)")
_RUSTLER = re.compile(r"#\[rustler::nif[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))? )?fn (\w+)")
_ONE_LINER = re.compile(r"\s*defp?\s+(\w+[?!]?).*,\s*do:")
_ABOVE_STOPS = re.compile(r"\s*(defp?|defmodule|end|use|import|alias|@on_load|@moduledoc|@compile|@nifs?)\b")
_STUB = re.compile(r"nif|not_loaded|undefined|erlang\.error|err\(\)|@stub|raise", re.IGNORECASE)
_COMMON_NAMES = frozenset({"load", "init", "new", "get", "put", "open", "close", "start", "stop", "info", "size"})

Pair = tuple[str, Mapping[str, Sequence[str]]]
"""A key, and texts by language."""


def native_pairs(files: Iterable[SourceFile], gperf: Sequence[str] = ()) -> Iterator[Pair]:
    """Texts of each native function's two sides, from the files of one repository."""
    found = list(files)
    names = list(dict.fromkeys(_names(found, gperf)))
    if not names:
        return
    native, beam = _by_name(found, NATIVE), _by_name(found, BEAM)
    callers = [f for some in beam.values() for f in some if f.text.count("\n") > 2]
    for called, answering in names:
        bodies = [f for f in native.get(answering, ()) if f.text.count("\n") > 2]
        stubs = [f for f in beam.get(called, ()) if len(f.text) < LONGEST_STUB and _STUB.search(f.text)]
        if len(bodies) == 1 and stubs:
            sides: dict[str, list[str]] = defaultdict(list)
            sides[bodies[0].language].append(bodies[0].text)
            for function in [stubs[0], *_calling(called, callers, stubs)]:
                sides[function.language].append(function.text)
            yield f"{called}/{answering}", sides


def _names(files: Iterable[SourceFile], gperf: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What the tables say: the name called, and the name of the native function."""
    pointers: dict[str, str] = {}
    for file in files:
        if file.language == "rust":
            yield from ((name, name) for name in _RUSTLER.findall(file.text))
        elif file.language in NATIVE:
            pointers.update(_STRUCT.findall(file.text))
            if "ErlNifFunc" in file.text:
                yield from ((called, answering.split("::")[-1]) for called, answering in _ROW.findall(file.text))
    for table in gperf:
        for _, called, struct in _GPERF.findall(table):
            if struct in pointers:
                yield called, pointers[struct]


def _by_name(files: Iterable[SourceFile], languages: frozenset[str]) -> dict[str, list[Function]]:
    found: dict[str, list[Function]] = defaultdict(list)
    for file in files:
        if file.language in languages and len(file.text) < 150_000:
            for function in [*functions_of(file, shortest=1), *_one_liners(file)]:
                found[function.name].append(function)
    return found


def _one_liners(file: SourceFile) -> Iterator[Function]:
    """Elixir stubs of one line, which the cutter leaves in their module's outline, with what documents them."""
    lines = file.text.split("\n") if file.language == "elixir" and "nif" in file.text else []
    for at, line in enumerate(lines):
        found = _ONE_LINER.match(line)
        if found:
            above = at
            while above > max(0, at - 25) and not _ABOVE_STOPS.match(lines[above - 1]):
                above -= 1
            text = textwrap.dedent("\n".join(lines[above : at + 1])).strip("\n")
            yield Function("elixir", found[1], "", text, above + 1)


def _calling(name: str, callers: Iterable[Function], stubs: Sequence[Function]) -> list[Function]:
    """The first functions that call the stub by its name, where the name says enough."""
    if name in _COMMON_NAMES:
        return []
    call = re.compile(rf"(?<![\w]){re.escape(name)}\(")
    own = {stub.text for stub in stubs}
    return [f for f in callers if f.name != name and f.text not in own and call.search(f.text)][:MOST_CALLERS]
