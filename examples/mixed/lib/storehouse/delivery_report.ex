defmodule Storehouse.DeliveryReport do
  @moduledoc "What a week of deliveries looked like, for people who read mail."

  @doc "A line for each carrier: parcels, and the hours in which half and nearly all of them arrived."
  def lines(deliveries) do
    deliveries
    |> Enum.group_by(& &1.carrier, & &1.hours)
    |> Enum.sort_by(fn {_carrier, hours} -> -length(hours) end)
    |> Enum.map(fn {carrier, hours} ->
      "#{carrier}: #{length(hours)} parcels, #{percentile(hours, 0.5)} h, #{percentile(hours, 0.95)} h"
    end)
  end

  @doc "The value below which the share `p` of the sorted numbers lies, interpolated."
  def percentile(numbers, p) when p >= 0 and p <= 1 do
    sorted = Enum.sort(numbers)
    position = p * (length(sorted) - 1)
    lower = sorted |> Enum.at(trunc(position))
    upper = sorted |> Enum.at(min(trunc(position) + 1, length(sorted) - 1))
    lower + (upper - lower) * (position - trunc(position))
  end
end
