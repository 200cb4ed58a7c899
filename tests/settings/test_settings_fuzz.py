"""Settings of any shape, from any source: no exception, bounded sentences, and only values within their bounds."""

from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, convert, to_builtins

from codekin.settings import Settings, load_settings
from codekin.settings.loading import PROBLEM_LIMIT
from codekin.settings.schema import list_settings

SECONDS = 2
"""Of processor time: a loaded machine is no fault."""

KEYS = sorted({part for key, _ in list_settings() for part in key.split(".")})
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(KEYS)
NAMES = st.sampled_from([*KEYS, ".tpp", "codekin"]) | st.text(max_size=6)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
TABLES = st.dictionaries(st.sampled_from([*Settings.__struct_fields__, "codekin"]), VALUES, max_size=4)
TOML = st.lists(
    st.sampled_from(
        [*(f"[{name}]\n" for name in Settings.__struct_fields__), " = ", "\n", "'", '"', "[", "]", "{", "}"]
    )
    | st.sampled_from(KEYS)
    | st.sampled_from(["1", "true", "nan", '"x"', "'''", '"""', ".", ",", "#", "\\", "1979-05-27", "-inf"])
    | st.text(max_size=4),
    max_size=25,
).map("".join)


def is_within_bounds(found: Struct) -> bool:
    """Whether a value passes the checks of its own schema."""
    return convert(to_builtins(found), type(found)) == found


@settings(max_examples=300, derandomize=True)
@given(table=TABLES)
def test_settings_of_an_editor_may_have_any_shape(table, tmp_path_factory):
    """What cannot be used is told in a few sentences; what holds is valid."""
    folder = tmp_path_factory.getbasetemp()
    begun = process_time()
    found, problems = load_settings(folder, folder, table)
    assert process_time() - begun < SECONDS
    assert is_within_bounds(found)
    assert len(problems) <= PROBLEM_LIMIT + 2
    assert all(len(problem) < 2000 for problem in problems)


@settings(max_examples=300, derandomize=True)
@given(content=TOML.map(str.encode) | st.binary(max_size=200))
def test_a_settings_file_may_hold_anything(content, tmp_path_factory):
    """A repository's file of any content costs a moment and a few sentences; no trust is gained by it."""
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    folder.mkdir(exist_ok=True)
    (folder / ".codekin.toml").write_bytes(content)
    begun = process_time()
    found, problems = load_settings(None, folder)
    assert process_time() - begun < SECONDS
    assert is_within_bounds(found)
    assert len(problems) <= PROBLEM_LIMIT + 2
    default = Settings()
    assert (found.models, found.daemon) == (default.models, default.daemon)
