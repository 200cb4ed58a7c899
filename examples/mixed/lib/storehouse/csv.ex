defmodule Storehouse.Csv do
  @moduledoc "Reads comma-separated values with quoted fields."

  @doc """
  Splits a line into its fields; a quoted field may hold commas and doubled quotes.

      iex> Storehouse.Csv.parse_line(~s(a,"b,c","d""e"))
      {:ok, ["a", "b,c", ~s(d"e)]}
  """
  def parse_line(line), do: field(line, "", [])

  defp field(<<?", rest::binary>>, "", fields), do: quoted(rest, "", fields)
  defp field(<<?,, rest::binary>>, current, fields), do: field(rest, "", [current | fields])
  defp field(<<byte, rest::binary>>, current, fields), do: field(rest, <<current::binary, byte>>, fields)
  defp field("", current, fields), do: {:ok, Enum.reverse([current | fields])}

  defp quoted(<<?", ?", rest::binary>>, current, fields), do: quoted(rest, <<current::binary, ?">>, fields)
  defp quoted(<<?", rest::binary>>, current, fields), do: field(rest, current, fields)
  defp quoted(<<byte, rest::binary>>, current, fields), do: quoted(rest, <<current::binary, byte>>, fields)
  defp quoted("", _current, _fields), do: {:error, :unclosed_quote}

  @doc "Reads a whole text whose first line names the columns; each row becomes a map."
  def parse(text) do
    [header | lines] = String.split(text, ~r/\r?\n/, trim: true)

    with {:ok, names} <- parse_line(header) do
      lines
      |> Enum.map(&parse_line/1)
      |> Enum.reduce_while({:ok, []}, fn
        {:ok, fields}, {:ok, rows} -> {:cont, {:ok, [names |> Enum.zip(fields) |> Map.new() | rows]}}
        error, _rows -> {:halt, error}
      end)
    end
  end
end
