defmodule Storehouse.Application do
  @moduledoc false
  use Application

  @impl true
  def start(_type, _args) do
    children = [
      {Storehouse.RateLimiter, capacity: 20, refill_per_second: 5},
      {Storehouse.LruCache, capacity: 500},
      {Storehouse.SessionRegistry, []},
      {Storehouse.DeviceRegistry, []},
      {Storehouse.JobQueue, concurrency: 4}
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: Storehouse.Supervisor)
  end
end
