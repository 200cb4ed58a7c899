"""After an edit, the places where the same must be done come with the text that they become."""

import pytest

from codekin.next_edit.cochange import CoChange
from codekin.next_edit.edits import read_changes, read_edit
from codekin.next_edit.finder import EditSearch


class Files:
    """A workspace of texts by path."""

    def __init__(self, **texts: str) -> None:
        self.texts = {name.replace("_", ".", 1): text for name, text in texts.items()}

    def files_with(self, word):
        return [path for path, text in self.texts.items() if word in text]

    def text(self, path):
        return self.texts[path]

    @staticmethod
    def language(path):
        return {"ex": "elixir", "cc": "cpp", "h": "cpp", "py": "python"}[path.rpartition(".")[2]]


def find(path: str, before: str, after: str, **others: str):
    """The next edits after a text became another, the other files being named `a_ex` for `a.ex`."""
    files = Files(**others)
    files.texts[path] = after
    edit = read_edit(path, files.language(path), before, after)
    return EditSearch(edit, files, seconds=60).run()


def changed(found) -> list[tuple[str, str, str]]:
    return [(one.path, "\n".join(one.old_lines), "\n".join(one.new_lines)) for one in found]


CALLER = """defmodule Shop.Cart do
  def total(cart) do
    cart.items |> Enum.map(&Price.in_cents(&1.price)) |> Enum.sum()
  end

  def tax(cart), do: Price.in_cents(cart.tax)
end
"""


def test_a_renamed_function_is_renamed_where_it_is_called():
    """After a definition got another name, its calls in other files follow."""
    before = "defmodule Price do\n  def in_cents(price), do: round(price * 100)\nend\n"
    found = find("price.ex", before, before.replace("in_cents", "to_cents"), cart_ex=CALLER)
    assert changed(found)[:2] == [
        ("cart.ex", line, line.replace("in_cents", "to_cents")) for line in CALLER.split("\n") if "in_cents" in line
    ]


def test_a_further_argument_is_passed_by_every_call_with_as_many():
    """A parameter added to a definition is added to its calls, not to those of another arity."""
    before = "int area(int width, int height) {\n  return width * height;\n}\n"
    after = before.replace("int height)", "int height, int depth)")
    caller = "int main() {\n  int depth = 3;\n  return area(1, f(2, 3)) + area(1);\n}\n"
    (first, *rest) = changed(find("area.cc", before, after, main_cc=caller))
    assert first == ("main.cc", "  return area(1, f(2, 3)) + area(1);", "  return area(1, f(2, 3), depth) + area(1);")
    assert all("area(1, depth)" not in new for _, _, new in rest)


def test_a_declaration_follows_its_definition():
    """The header gets the parameter that the definition got, as it is written there."""
    before = "bool Store::open(const Path& path) {\n  return true;\n}\n"
    after = before.replace("path)", "path, int flags)")
    header = "class Store {\n  bool open(const Path& path);\n};\n"
    (first, *_) = changed(find("store.cc", before, after, store_h=header))
    assert first == ("store.h", "  bool open(const Path& path);", "  bool open(const Path& path, int flags);")


def test_a_further_field_stands_beside_its_sibling_elsewhere():
    """A field added to a struct is added to the list of the changeset and as a line of the schema."""
    before = "defmodule U do\n  defstruct [:name, :email]\n\n  def change(u, a), do: cast(u, a, [:name, :email])\nend\n"
    after = before.replace("defstruct [:name, :email]", "defstruct [:name, :email, :phone]")
    found = changed(find("u.ex", before, after))
    assert (
        "u.ex",
        "  def change(u, a), do: cast(u, a, [:name, :email])",
        "  def change(u, a), do: cast(u, a, [:name, :email, :phone])",
    ) in found


def test_a_repeated_change_of_text_is_carried_on():
    """What was replaced once between the same neighbours is replaced there again."""
    text = "".join(f"def test_{n}(client):\n    client.get('/v1/items/{n}', timeout=5)\n\n" for n in range(3))
    after = text.replace("/v1/items/0", "/v2/items/0", 1)
    found = changed(find("test.py", text, after))
    assert found[0][2] == "    client.get('/v2/items/1', timeout=5)"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = compute(1)\ny = 2\n", "x = compute(1)\ny = 3\n"),
        ("def go(x):\n    return x\n", "def go(x):\n    # why\n    return x\n"),
        ("a = 1\n", "a = 1\nb = other(a)\n"),
    ],
)
def test_nothing_is_proposed_where_nothing_follows(before, after):
    """An edit that says nothing about other places proposes nothing."""
    assert find("a.py", before, after, b_py="z = compute(2)\nw = 2\n") == []


def test_places_that_have_the_change_already_are_left_alone():
    """Accepting a next edit does not propose it again."""
    text = "a = load(path, True)\nb = load(name)\n"
    found = find("a.py", text.replace(", True", ""), text)
    assert [new for _, _, new in changed(found)] in ([], ["b = load(name, True)"])
    done = text.replace("load(name)", "load(name, True)")
    assert find("a.py", done.replace("load(path, True)", "load(path)"), done) == []


def test_lines_at_the_end_of_a_file_are_added_behind_the_last_one():
    """A copy below the last line, which has no break, takes that line along."""
    before = "@email = field(:email)\n"
    after = before + "@phone = field(:phone)\n"
    edit = read_edit("a.ex", "elixir", before, after)
    files = Files(a_ex=after, b_ex="x\n" * 30 + "@email = column(:email)")
    last = next(one for one in EditSearch(edit, files, seconds=60).run(min_chance=0.0) if one.path == "b.ex")
    assert (last.start_line, last.old_lines) == (30, ("@email = column(:email)",))
    assert last.new_lines[0] == "@email = column(:email)"
    assert "@phone = " in last.new_lines[1]


def test_an_edit_knows_the_tokens_that_it_replaced():
    """Token changes hold what was replaced and its neighbours; equal ones count once."""
    edit = read_edit("a.py", "python", "f(a, old, b) + old\n", "f(a, new, b) + new\n")
    (change,) = read_changes(edit)
    assert (change.deleted, change.inserted, change.times) == (("old",), ("new",), 2)
    assert change.left[-2:] == ("a", ",")


def test_files_that_changed_together_come_first():
    """The share of a file's commits in which another one changed; huge commits say nothing."""
    history = CoChange([["a", "b"], ["a", "b"], ["a"], ["a", *map(str, range(40))]])
    assert history.co_change("a") == {"b": 0.5}
    assert history.co_change("a", after=0) == {}
