defmodule Storehouse.Retry do
  @moduledoc "Repeats what may fail for a moment, waiting longer each time."

  @doc """
  Calls `fun` until it succeeds, at most `:attempts` times, with exponential backoff and jitter.
  """
  def with_backoff(fun, options \\ []) do
    attempts = Keyword.get(options, :attempts, 5)
    base = Keyword.get(options, :base_delay, 100)
    limit = Keyword.get(options, :max_delay, 5_000)
    try_again(fun, 1, attempts, base, limit)
  end

  defp try_again(fun, attempt, attempts, base, limit) do
    case fun.() do
      {:ok, result} ->
        {:ok, result}

      {:error, reason} when attempt >= attempts ->
        {:error, reason}

      {:error, _reason} ->
        attempt |> delay(base, limit) |> Process.sleep()
        try_again(fun, attempt + 1, attempts, base, limit)
    end
  end

  @doc false
  def delay(attempt, base, limit) do
    doubled = base * Integer.pow(2, attempt - 1)
    jitter = :rand.uniform(div(base, 2) + 1)
    min(doubled + jitter, limit)
  end
end
