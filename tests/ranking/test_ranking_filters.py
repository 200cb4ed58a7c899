"""Path patterns: what they match, and that no pattern takes long."""

import pytest

from codekin.errors import UsageError
from codekin.ranking.query import compile_glob


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("*.ex", "lib/a/b.ex", True),
        ("*.ex", "lib/a/b.exs", False),
        ("lib/*.ex", "lib/b.ex", True),
        ("lib/*.ex", "lib/a/b.ex", False),
        ("lib/**/*.ex", "lib/b.ex", True),
        ("lib/**/*.ex", "lib/a/c/b.ex", True),
        ("lib", "lib/a/b.ex", True),
        ("lib/", "src/lib/b.ex", True),
        ("/lib", "src/lib/b.ex", False),
        ("lib/**", "lib/a/b.ex", True),
        ("**/test/*", "apps/one/test/a.exs", True),
        ("./lib/b.ex", "lib/b.ex", True),
        ("a*b*c", "aXbYbZc", True),
        ("a*b*c", "aXbYbZ", False),
        ("**/a*/b", "a1/c/a2/b", True),
        ("file[0-9].ex", "file7.ex", True),
        ("file[!0-9].ex", "file7.ex", False),
        ("file?.ex", "file/.ex", False),
        ("a[b.ex", "a[b.ex", True),
        ("a.ex", "abex", False),
        ("*a", "banana", True),
        ("*an*", "banana", True),
    ],
)
def test_a_glob_matches_as_in_gitignore(glob: str, path: str, expected: bool) -> None:
    """A glob matches the same paths as in .gitignore."""
    assert bool(compile_glob(glob).match(path)) is expected


def test_a_glob_cannot_backtrack_for_long() -> None:
    """A glob with many stars is matched in bounded time."""
    assert not compile_glob("*a" * 40 + "b").match("a" * 400)
    assert not compile_glob("**/" + "*a" * 20 + "b").match("a/" * 100 + "a" * 100)
    with pytest.raises(UsageError, match=r"more than 3"):
        compile_glob("**/a/**/b/**/c/**/d")
