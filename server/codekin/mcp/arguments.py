"""What each tool takes and gives, as types; their JSON Schemas are what an agent is shown."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.json import schema_components

from codekin.errors import UsageError
from codekin.types import CHUNK_KINDS, LANGUAGE_NAMES

Text = Annotated[str, Meta(min_length=1, max_length=100_000)]
Names = tuple[str, ...]


Languages = Annotated[Names, Meta(description=f"Only these languages: {', '.join(LANGUAGE_NAMES)}.")]
Kinds = Annotated[Names, Meta(description=f"Only these kinds: {', '.join(CHUNK_KINDS)}.")]
PathGlobs = Annotated[Names, Meta(description="Only paths that match one of these globs, such as `lib/**`.")]
Limit = Annotated[int, Meta(ge=1, le=50, description="At most so many places.")]
MinScore = Annotated[float | None, Meta(description="Only places with this score or more, from 0 to 1.")]
MaxTokens = Annotated[
    int,
    Meta(
        ge=100,
        le=100_000,
        description="About how many tokens at most: whole code for the best, heads with their lines for the rest.",
    ),
]
Root = Annotated[str, Meta(description="One of the client's root folders, if it has several; else the first.")]
History = Annotated[bool, Meta(description="Say who changed each place last, and when a deleted function was removed.")]
Since = Annotated[
    str, Meta(max_length=40, description="Only code that changed since: `2026-03-01`, `30d`, `6w`, `1y`.")
]
NewLanguage = Annotated[str, Meta(description="The language of the code, if it is known.")]


class Arguments(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What every tool takes."""

    root: Root = ""


class FilteredArguments(Arguments, frozen=True, kw_only=True):
    """What every tool that finds places takes."""

    languages: Languages = ()
    kinds: Kinds = ()
    paths: PathGlobs = ()
    min_score: MinScore = None
    limit: Limit = 10
    max_tokens: MaxTokens = 2000

    def filters(self) -> dict[str, Any]:
        """The filters as the daemon reads them."""
        names = {"languages": self.languages, "kinds": self.kinds, "paths": self.paths}
        return {"min_score": self.min_score, **names}


class SearchArguments(FilteredArguments, frozen=True, kw_only=True):
    """Words to search for."""

    query: Annotated[Text, Meta(description="A name, or words that say what the code does.")]
    grep: Annotated[str, Meta(description="A regular expression that a line of the code must match.")] = ""
    history: History = False
    since: Since = ""


class SimilarArguments(FilteredArguments, frozen=True, kw_only=True):
    """A place or a snippet."""

    path: Annotated[str, Meta(description="The file of the code, relative to the root.")] = ""
    line: Annotated[int, Meta(ge=0, description="A line of the code, from 1 on.")] = 0
    end_line: Annotated[int, Meta(ge=0, description="The last line, where a range of lines is meant.")] = 0
    snippet: Annotated[str, Meta(max_length=100_000, description="Code, in place of a path and line.")] = ""
    language: NewLanguage = ""
    history: History = False
    since: Since = ""


class ReadArguments(Arguments, frozen=True, kw_only=True):
    """A chunk by its place or name."""

    path: Annotated[str, Meta(description="A file's path, relative to the root; may be left out with a name.")] = ""
    line: Annotated[int, Meta(ge=0, description="A line of the chunk; from it on, if `end_line` is given.")] = 0
    end_line: Annotated[int, Meta(ge=0, description="The last line, to read lines in place of a chunk.")] = 0
    name: Annotated[str, Meta(description="The chunk's name, such as `MyApp.Cache.fetch/2` or `Pool::acquire`.")] = ""
    max_tokens: MaxTokens = 4000


class OutlineArguments(Arguments, frozen=True, kw_only=True):
    """A file or folder."""

    path: Annotated[str, Meta(description="A file's or folder's path, relative to the root; empty for the root.")] = ""
    max_tokens: MaxTokens = 2000


class ExistsArguments(Arguments, frozen=True, kw_only=True):
    """Code or a description."""

    code: Annotated[str, Meta(max_length=100_000, description="One or more functions, as you would write them.")] = ""
    description: Annotated[str, Meta(max_length=2000, description="What the function would do, in place of code.")] = ""
    language: NewLanguage = ""
    path: Annotated[str, Meta(description="The file that the code is in or is meant for.")] = ""
    min_score: MinScore = None
    max_tokens: MaxTokens = 2000


class DuplicatesArguments(FilteredArguments, frozen=True, kw_only=True):
    """What near-duplicates to list."""


class StatusArguments(Arguments, frozen=True, kw_only=True):
    """Nothing more."""


class FoundCode(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A place; `code` is left out where only the head fits."""

    path: str
    start_line: int
    end_line: int
    name: str = ""
    kind: str = ""
    language: str = ""
    score: float = 0.0
    reasons: Names = ()
    changed: str = ""
    signature: str = ""
    code: str = ""


class FoundPlaces(Struct, frozen=True, kw_only=True):
    """Places, best first; `omitted` counts those for which there was no room."""

    places: tuple[FoundCode, ...]
    omitted: int = 0
    note: str = ""


class ExistingPlace(Struct, frozen=True, kw_only=True):
    """Code that does the same as `function`, how it is related, and what shows it."""

    function: str
    relation: str
    evidence: Names
    place: FoundCode


class ExistingPlaces(Struct, frozen=True, kw_only=True):
    """What exists already, the surest first; empty where nothing does the same."""

    existing: tuple[ExistingPlace, ...]
    omitted: int = 0


class DuplicateGroups(Struct, frozen=True, kw_only=True):
    """Groups of places that say nearly the same, the most repeated code first."""

    groups: tuple[tuple[FoundCode, ...], ...]
    omitted: int = 0
    note: str = ""


class ReadCode(Struct, frozen=True, kw_only=True):
    """Code in whole lines; `next_line` is where to read on, 0 where the code is complete."""

    path: str
    start_line: int
    end_line: int
    code: str
    name: str = ""
    kind: str = ""
    language: str = ""
    next_line: int = 0


class OutlineEntry(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A chunk of a file with its lines, or a file or folder; `depth` counts the chunks that it lies in."""

    name: str
    kind: str
    start_line: int = 0
    end_line: int = 0
    depth: int = 0
    signature: str = ""
    doc: str = ""


class Outline(Struct, frozen=True, kw_only=True):
    """What a file or folder holds, in order."""

    path: str
    entries: tuple[OutlineEntry, ...]
    omitted: int = 0


class WorkspaceStatus(Struct, frozen=True, kw_only=True):
    """How the index of a root does; `degraded` says why answers come from words alone, if they do."""

    root: str
    state: str
    files: int
    chunks: int
    embedded: int
    model: str
    degraded: str = ""
    problems: Names = ()


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


def read_arguments(kind: type[ArgumentsT], values: Mapping[str, Any]) -> ArgumentsT:
    """The arguments of a call. Raises UsageError with one sentence where one is missing, unknown or wrong."""
    try:
        return convert(dict(values), kind, strict=True)
    except ValidationError as error:
        raise UsageError(f"{str(error).replace('`$.', '`')}; see the tool's input schema.") from error


def json_schema(kind: type[Struct]) -> dict[str, Any]:
    """The JSON Schema of a type, an object at its root."""
    (reference,), components = schema_components([kind], ref_template="#/$defs/{name}")
    name = str(reference["$ref"]).rsplit("/", 1)[-1]
    schema = dict(components.pop(name))
    return {**schema, "$defs": components} if components else schema
