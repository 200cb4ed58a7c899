defmodule Storehouse.CsvTest do
  use ExUnit.Case, async: true

  alias Storehouse.Csv

  describe "parse_line/1" do
    test "splits at commas" do
      assert Csv.parse_line("a,b,c") == {:ok, ["a", "b", "c"]}
    end

    test "keeps commas in quoted fields" do
      assert Csv.parse_line(~s("a,b",c)) == {:ok, ["a,b", "c"]}
    end

    test "refuses an unclosed quote" do
      assert Csv.parse_line(~s("a,b)) == {:error, :unclosed_quote}
    end
  end
end
