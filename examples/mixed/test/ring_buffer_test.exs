defmodule Storehouse.RingBufferTest do
  use ExUnit.Case, async: true

  alias Storehouse.RingBuffer

  test "the oldest item is overwritten when the buffer is full" do
    buffer = Enum.reduce(1..5, RingBuffer.new(3), &RingBuffer.push(&2, &1))
    assert RingBuffer.to_list(buffer) == [3, 4, 5]
  end

  test "an empty buffer gives nothing" do
    assert {:empty, _} = RingBuffer.pop(RingBuffer.new(2))
  end
end
