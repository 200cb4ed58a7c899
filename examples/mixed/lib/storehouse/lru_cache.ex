defmodule Storehouse.LruCache do
  @moduledoc """
  Keeps the entries that were used last and evicts the one that was not used for longest.
  """
  use GenServer

  def start_link(options) do
    GenServer.start_link(__MODULE__, options, name: __MODULE__)
  end

  def get(key), do: GenServer.call(__MODULE__, {:get, key})

  def put(key, value), do: GenServer.call(__MODULE__, {:put, key, value})

  @impl true
  def init(options) do
    {:ok, %{capacity: Keyword.fetch!(options, :capacity), clock: 0, entries: %{}}}
  end

  @impl true
  def handle_call({:get, key}, _from, cache) do
    case cache.entries do
      %{^key => {value, _used}} -> {:reply, {:ok, value}, touch(cache, key, value)}
      _ -> {:reply, :miss, cache}
    end
  end

  def handle_call({:put, key, value}, _from, cache) do
    {:reply, :ok, cache |> touch(key, value) |> evict_least_recently_used()}
  end

  # The entry moves to the front: its clock is the newest.
  defp touch(cache, key, value) do
    clock = cache.clock + 1
    %{cache | clock: clock, entries: Map.put(cache.entries, key, {value, clock})}
  end

  defp evict_least_recently_used(%{capacity: capacity, entries: entries} = cache)
       when map_size(entries) > capacity do
    {oldest, _entry} = Enum.min_by(entries, fn {_key, {_value, used}} -> used end)
    %{cache | entries: Map.delete(entries, oldest)}
  end

  defp evict_least_recently_used(cache), do: cache
end
