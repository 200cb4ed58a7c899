defmodule Storehouse.Statistics do
  @moduledoc "Summaries of numbers that come one by one."

  defstruct count: 0, mean: 0.0, sum_of_squares: 0.0

  @doc "Adds a number, by Welford's method, so that nothing is lost to cancellation."
  def add(%__MODULE__{count: count, mean: mean, sum_of_squares: squares}, number) do
    count = count + 1
    delta = number - mean
    mean = mean + delta / count
    %__MODULE__{count: count, mean: mean, sum_of_squares: squares + delta * (number - mean)}
  end

  def variance(%__MODULE__{count: count}) when count < 2, do: 0.0
  def variance(%__MODULE__{count: count, sum_of_squares: squares}), do: squares / (count - 1)

  def standard_deviation(statistics), do: statistics |> variance() |> :math.sqrt()

  @doc "The value below which the share `p` of the sorted numbers lies, interpolated."
  def percentile(numbers, p) when p >= 0 and p <= 1 and numbers != [] do
    sorted = Enum.sort(numbers)
    position = p * (length(sorted) - 1)
    lower = sorted |> Enum.at(trunc(position))
    upper = sorted |> Enum.at(min(trunc(position) + 1, length(sorted) - 1))
    lower + (upper - lower) * (position - trunc(position))
  end
end
