defmodule Storehouse.DeviceRegistry do
  @moduledoc "Knows which process serves which device, and forgets it when the process dies."
  use GenServer

  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  def register(device_id, pid \\ self()) do
    GenServer.call(__MODULE__, {:register, device_id, pid})
  end

  def whereis(device_id), do: GenServer.call(__MODULE__, {:whereis, device_id})

  @impl true
  def init(_options), do: {:ok, %{pids: %{}, devices: %{}}}

  @impl true
  def handle_call({:register, device_id, pid}, _from, state) do
    case state.pids do
      %{^device_id => taken} ->
        {:reply, {:error, {:already_registered, taken}}, state}

      pids ->
        reference = Process.monitor(pid)
        devices = Map.put(state.devices, reference, device_id)
        {:reply, :ok, %{state | pids: Map.put(pids, device_id, pid), devices: devices}}
    end
  end

  def handle_call({:whereis, device_id}, _from, state) do
    {:reply, Map.get(state.pids, device_id), state}
  end

  @impl true
  def handle_info({:DOWN, reference, :process, _pid, _reason}, state) do
    {device_id, devices} = Map.pop(state.devices, reference)
    {:noreply, %{state | pids: Map.delete(state.pids, device_id), devices: devices}}
  end
end
