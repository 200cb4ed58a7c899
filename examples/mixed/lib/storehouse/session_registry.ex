defmodule Storehouse.SessionRegistry do
  @moduledoc "Knows which process serves which session, and forgets it when the process dies."
  use GenServer

  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  def register(session_id, pid \\ self()) do
    GenServer.call(__MODULE__, {:register, session_id, pid})
  end

  def whereis(session_id), do: GenServer.call(__MODULE__, {:whereis, session_id})

  @impl true
  def init(_options), do: {:ok, %{pids: %{}, sessions: %{}}}

  @impl true
  def handle_call({:register, session_id, pid}, _from, state) do
    case state.pids do
      %{^session_id => taken} ->
        {:reply, {:error, {:already_registered, taken}}, state}

      pids ->
        reference = Process.monitor(pid)
        sessions = Map.put(state.sessions, reference, session_id)
        {:reply, :ok, %{state | pids: Map.put(pids, session_id, pid), sessions: sessions}}
    end
  end

  def handle_call({:whereis, session_id}, _from, state) do
    {:reply, Map.get(state.pids, session_id), state}
  end

  @impl true
  def handle_info({:DOWN, reference, :process, _pid, _reason}, state) do
    {session_id, sessions} = Map.pop(state.sessions, reference)
    {:noreply, %{state | pids: Map.delete(state.pids, session_id), sessions: sessions}}
  end
end
