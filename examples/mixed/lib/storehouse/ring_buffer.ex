defmodule Storehouse.RingBuffer do
  @moduledoc "Remembers the newest items up to a capacity; the oldest is overwritten."

  defstruct [:capacity, size: 0, items: :queue.new()]

  def new(capacity) when capacity > 0, do: %__MODULE__{capacity: capacity}

  def push(%__MODULE__{size: size, capacity: capacity} = buffer, item) when size == capacity do
    %{buffer | items: :queue.in(item, :queue.drop(buffer.items))}
  end

  def push(%__MODULE__{} = buffer, item) do
    %{buffer | size: buffer.size + 1, items: :queue.in(item, buffer.items)}
  end

  def pop(%__MODULE__{size: 0} = buffer), do: {:empty, buffer}

  def pop(%__MODULE__{} = buffer) do
    {{:value, item}, items} = :queue.out(buffer.items)
    {{:ok, item}, %{buffer | size: buffer.size - 1, items: items}}
  end

  def to_list(%__MODULE__{items: items}), do: :queue.to_list(items)
end
