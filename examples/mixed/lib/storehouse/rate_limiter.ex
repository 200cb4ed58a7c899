defmodule Storehouse.RateLimiter do
  @moduledoc """
  A token bucket for each client: requests spend tokens, time gives them back.
  """
  use GenServer

  defstruct [:capacity, :refill_per_second, buckets: %{}]

  def start_link(options) do
    GenServer.start_link(__MODULE__, options, name: __MODULE__)
  end

  @doc "Takes a token for the client; `{:error, :rate_limited}` when its bucket is empty."
  def allow(client, now \\ System.monotonic_time(:millisecond)) do
    GenServer.call(__MODULE__, {:allow, client, now})
  end

  @impl true
  def init(options) do
    {:ok, struct!(__MODULE__, options)}
  end

  @impl true
  def handle_call({:allow, client, now}, _from, state) do
    bucket = state.buckets |> Map.get(client, {state.capacity, now}) |> refill(state, now)

    case spend(bucket) do
      {:ok, bucket} ->
        {:reply, :ok, put_in(state.buckets[client], bucket)}

      {:empty, bucket} ->
        {:reply, {:error, :rate_limited}, put_in(state.buckets[client], bucket)}
    end
  end

  # Tokens come back with the time that has passed, never above the capacity.
  defp refill({tokens, last}, state, now) do
    elapsed = max(now - last, 0) / 1000
    {min(state.capacity, tokens + elapsed * state.refill_per_second), now}
  end

  defp spend({tokens, last}) when tokens >= 1, do: {:ok, {tokens - 1, last}}
  defp spend(bucket), do: {:empty, bucket}
end
