defmodule Storehouse.JobQueue do
  @moduledoc """
  Runs jobs by priority, a few at a time, and gives a failed job another chance later.
  """
  use GenServer

  def start_link(options), do: GenServer.start_link(__MODULE__, options, name: __MODULE__)

  def enqueue(job, priority \\ 0), do: GenServer.cast(__MODULE__, {:enqueue, priority, job})

  def size, do: GenServer.call(__MODULE__, :size)

  @impl true
  def init(options) do
    {:ok, %{waiting: :gb_sets.new(), running: %{}, concurrency: options[:concurrency] || 2, serial: 0}}
  end

  @impl true
  def handle_cast({:enqueue, priority, job}, state) do
    entry = {-priority, state.serial, job}
    {:noreply, start_waiting(%{state | waiting: :gb_sets.add(entry, state.waiting), serial: state.serial + 1})}
  end

  @impl true
  def handle_call(:size, _from, state) do
    {:reply, :gb_sets.size(state.waiting) + map_size(state.running), state}
  end

  @impl true
  def handle_info({:DOWN, reference, :process, _pid, :normal}, state) do
    {:noreply, start_waiting(%{state | running: Map.delete(state.running, reference)})}
  end

  def handle_info({:DOWN, reference, :process, _pid, _reason}, state) do
    {{priority, serial, job}, running} = Map.pop!(state.running, reference)
    waiting = :gb_sets.add({priority + 1, serial, job}, state.waiting)
    {:noreply, start_waiting(%{state | running: running, waiting: waiting})}
  end

  defp start_waiting(state) do
    if map_size(state.running) < state.concurrency and not :gb_sets.is_empty(state.waiting) do
      {{_priority, _serial, job} = entry, waiting} = :gb_sets.take_smallest(state.waiting)
      {_pid, reference} = spawn_monitor(job)
      start_waiting(%{state | waiting: waiting, running: Map.put(state.running, reference, entry)})
    else
      state
    end
  end
end
