"""Names first: every spelling of a name leads to its definition."""

from pathlib import Path

import pytest

from codekin import parsing
from codekin.ranking import search_code
from codekin.ranking.names import is_name_query
from codekin.storage import ChunkIndex, FileState
from codekin.storage.snapshot import NameTable, split_name
from codekin.types import Hit, SearchRequest

FILES = {
    "lib/ledger.ex": """defmodule Shop.Ledger do
  @moduledoc "Entries of a shop, by month."

  def add_entry(shop, entry) do
    broadcast(shop, {:added, entry})
    {:ok, entry}
  end

  @doc "Sums up a month and closes it."
  def close_month(shop, month) do
    total = shop |> list_entries(month) |> Enum.sum()
    broadcast(shop, {:closed, month, total})
    {:ok, total}
  end

  def list_entries(shop, month), do: Repo.all(Entry.of(shop, month))

  defp broadcast(shop, message), do: PubSub.broadcast(shop.id, message)
end
""",
    "lib/worker.ex": """defmodule Shop.Worker do
  # Calls close_month for every shop: close_month(shop, month), Ledger.close_month/2
  def perform(shop, month) do
    Shop.Ledger.close_month(shop, month)
  end
end
""",
    "test/ledger_test.exs": """defmodule Shop.LedgerTest do
  describe "close_month/2" do
    test "close_month/2 sums up the entries of the month" do
      assert {:ok, 3} = Shop.Ledger.close_month(shop(), 5)
    end
  end

  def close_month(shop, month), do: Shop.Ledger.close_month(shop, month)
end
""",
    "src/pin.cpp": """#include "pin.h"
namespace paint {
class PinWidget : public QWidget {
 public:
  PinWidget(QPixmap pixmap) : pixmap_(pixmap) { show(); }
  void closePin() { hide(); emit closed(); }
  bool operator==(const PinWidget& other) const { return pixmap_ == other.pixmap_; }
};

void PinWidget::rotateLeft() {
  pixmap_ = pixmap_.transformed(QTransform().rotate(-90));
  update();
}
}
void openPin(QPixmap pixmap) { auto pin = new paint::PinWidget(pixmap); pin->closePin(); pin->rotateLeft(); }
""",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ChunkIndex:
    """A reader of FILES."""
    folder = tmp_path_factory.mktemp("index")
    with ChunkIndex.open(folder, write=True) as writer:
        for path, text in FILES.items():
            language = parsing.detect_language(path, text) or ""
            writer.replace_file(
                path, FileState(len(text), 1, 1, path, language), parsing.cut_chunks(path, text, language)[0]
            )
        writer.flush(force=True)
    return ChunkIndex.open(folder)


def search(index: ChunkIndex, text: str) -> list[Hit]:
    return search_code(index, None, SearchRequest(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Shop.Ledger.close_month/2", "Shop.Ledger.close_month/2"),
        ("Shop.Ledger.close_month", "Shop.Ledger.close_month/2"),
        ("Ledger.close_month", "Shop.Ledger.close_month/2"),
        ("Ledger.close_month/2", "Shop.Ledger.close_month/2"),
        ("&Ledger.close_month/2", "Shop.Ledger.close_month/2"),
        ("close_month", "Shop.Ledger.close_month/2"),
        ("close_month/2", "Shop.Ledger.close_month/2"),
        ("close_month()", "Shop.Ledger.close_month/2"),
        ("def close_month", "Shop.Ledger.close_month/2"),
        ("`close_month`", "Shop.Ledger.close_month/2"),
        ("Close_Month", "Shop.Ledger.close_month/2"),
        ("closeMonth", "Shop.Ledger.close_month/2"),
        ("close month", "Shop.Ledger.close_month/2"),
        ("ledger close month", "Shop.Ledger.close_month/2"),
        ("Shop.Ledger", "Shop.Ledger"),
        ("Ledger", "Shop.Ledger"),
        ("PinWidget", "paint::PinWidget"),
        ("pinwidget", "paint::PinWidget"),
        ("class PinWidget", "paint::PinWidget"),
        ("paint::PinWidget::rotateLeft", "paint::PinWidget::rotateLeft"),
        ("PinWidget::rotateLeft", "paint::PinWidget::rotateLeft"),
        ("rotateLeft", "paint::PinWidget::rotateLeft"),
        ("rotate_left", "paint::PinWidget::rotateLeft"),
        ("PinWidget::closePin", "paint::PinWidget::closePin"),
        ("closePin", "paint::PinWidget::closePin"),
        ("list_entries", "Shop.Ledger.list_entries/2"),
        ("Ledger.list_entries/2", "Shop.Ledger.list_entries/2"),
    ],
)
def test_a_name_is_answered_by_its_definition_first(index: ChunkIndex, text: str, expected: str) -> None:
    """Callers, tests and containers come after the definition."""
    assert search(index, text)[0].name == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clos_month", "Shop.Ledger.close_month/2"),
        ("close_mnoth", "Shop.Ledger.close_month/2"),
        ("add_entri", "Shop.Ledger.add_entry/2"),
        ("entry", "Shop.Ledger.add_entry/2"),
        ("rotateLef", "paint::PinWidget::rotateLeft"),
        ("rotat", "paint::PinWidget::rotateLeft"),
        ("where is close_month called", "Shop.Ledger.close_month/2"),
    ],
)
def test_a_name_in_part_or_nearly_is_near_the_top(index: ChunkIndex, text: str, expected: str) -> None:
    """A part of a name, or a name with a wrong letter, finds its definition."""
    assert expected in [hit.name for hit in search(index, text)[:3]]


def test_a_definition_points_to_where_its_code_begins(index: ChunkIndex) -> None:
    """A hit's code line is that of the definition, below its documentation."""
    assert search(index, "Shop.Ledger.close_month/2")[0].code_line == 10


def test_an_arity_that_no_function_has_is_not_answered_as_a_name(index: ChunkIndex) -> None:
    """`f/3` does not name `f/2`: what is found has a lower score than a name."""
    assert all(hit.score < 0.9 for hit in search(index, "close_month/3"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Shop.Ledger.close_month/2", True),
        ("ns::Class::method", True),
        ("PinWidget", True),
        ("method()", True),
        ("a |> b", False),
        ("Enum.map(list, &double/1)", False),
        ("close the month", False),
        ("int x = 1;", False),
    ],
)
def test_names_are_distinguished_from_words_and_code(text: str, expected: bool) -> None:
    """A name with scopes is a name although its separators look like code."""
    assert is_name_query(text) is expected


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Shop.Ledger.close_month/2", ("Shop", "Ledger", "close_month")),
        ("ns::Class<T, U>::method", ("ns", "Class", "method")),
        ("src/arguments.cpp", ("src", "arguments", "cpp")),
        ("ns::Class::operator==", ("ns", "Class", "operator==")),
        ("plain", ("plain",)),
    ],
)
def test_a_name_has_parts(name: str, parts: tuple[str, ...]) -> None:
    """Scopes and the last part are apart; arity and template arguments are left out."""
    assert split_name(name) == parts


def test_a_name_table_finds_keys_in_part_and_one_letter_off() -> None:
    """Names are found by a part of their key, and by one letter added, left out, replaced or exchanged."""
    table = NameTable()
    for name in ("A.close_month/2", "B.closeMonth", "A.open/1", "größe"):
        table.number(name)
    assert [table.name(number) for number in table.with_key("closemonth")] == ["A.close_month/2", "B.closeMonth"]
    assert list(table.keys_containing("month")) == ["closemonth"]
    for misspelt in ("closemont", "closemonthx", "cloxemonth", "colsemonth"):
        assert list(table.keys_one_letter_off(misspelt)) == ["closemonth"]
    assert list(table.keys_one_letter_off("closemonth")) == []
    table.number("A.late/0")
    assert list(table.keys_containing("lat")) == ["late"]


def test_an_empty_name_table_has_no_keys() -> None:
    """A fresh workspace is searched for a name without an error."""
    assert list(NameTable().keys_containing("abc")) == []
    assert list(NameTable().keys_one_letter_off("abcd")) == []


ARGUMENTS = """// Parses the arguments of the command line.
#include "arguments.h"

static const Option kHelp{"help", 'h', "Shows how the command line is used"};
static const Option kVersion{"version", 'v', "Shows the version"};
static const Option kQuiet{"quiet", 'q', "Parses the command line arguments, prints nothing"};

Arguments::Arguments()
  : description_("Command line arguments")
{}

bool Arguments::parse(const std::vector<std::string>& words)
{
    auto at = words.cbegin();
    while (at != words.cend()) {
        if (isOption(*at)) takeOption(*at);
        else if (isArgument(*at)) takeArgument(*at);
        else return fail("unknown word " + *at);
        ++at;
    }
    return checkRequired();
}

void Arguments::setDescription(const std::string& text) { description_ = text; }

bool Arguments::isSet(const Option& option) const
{
    for (const auto& one : found_)
        if (one.name == option.name) return true;
    return option.isFlag && option.value;
}
"""


def test_a_container_takes_no_place_from_what_is_in_it(tmp_path: Path) -> None:
    """A file that ranks above a function in it does not hide the function."""
    with ChunkIndex.open(tmp_path, write=True) as index:
        chunks = parsing.cut_chunks("src/arguments.cpp", ARGUMENTS, "cpp")[0]
        index.replace_file("src/arguments.cpp", FileState(1, 1, 1, "h", "cpp"), chunks)
        index.flush(force=True)
        assert search(index, "Arguments::parse")[0].name == "Arguments::parse"
        hits = {hit.name: hit.code_line for hit in search(index, "parse command line arguments")}
        assert hits["Arguments::parse"] == 12


def test_a_long_function_is_one_hit_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """A hit in the third part of a function shows the whole function, and the lines that match."""
    body = "".join(f"  total += weigh_{number}(input);\n" for number in range(400))
    body = body.replace("weigh_350(input)", "calibrate_sensor(input)")
    text = f"// Adds all weights up.\nint add_weights(int input) {{\n  int total = 0;\n{body}  return total;\n}}\n"
    with ChunkIndex.open(tmp_path, write=True) as index:
        chunks = parsing.cut_chunks("src/weights.cpp", text, "cpp")[0]
        assert max(chunk.part for chunk in chunks) > 1
        index.replace_file("src/weights.cpp", FileState(1, 1, 1, "h", "cpp"), chunks)
        index.flush(force=True)
        (hit,) = [one for one in search(index, "calibrate the sensor") if one.kind == "function"]
    assert (hit.start_line, hit.code_line, hit.end_line) == (1, 2, 405)
    assert 354 in hit.lines
