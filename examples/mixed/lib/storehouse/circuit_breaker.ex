defmodule Storehouse.CircuitBreaker do
  @moduledoc "Stops calling what keeps failing, and tries it again after a rest."

  defstruct threshold: 5, rest: 30_000, failures: 0, opened_at: nil

  def call(%__MODULE__{} = breaker, fun, now) do
    if open?(breaker, now) do
      {{:error, :circuit_open}, breaker}
    else
      run(breaker, fun, now)
    end
  end

  def open?(%__MODULE__{opened_at: nil}, _now), do: false
  def open?(%__MODULE__{opened_at: opened, rest: rest}, now), do: now - opened < rest

  defp run(breaker, fun, now) do
    case fun.() do
      {:ok, _} = success -> {success, %{breaker | failures: 0, opened_at: nil}}
      {:error, _} = failure -> {failure, record_failure(breaker, now)}
    end
  end

  defp record_failure(%__MODULE__{failures: failures, threshold: threshold} = breaker, now)
       when failures + 1 >= threshold do
    %{breaker | failures: failures + 1, opened_at: now}
  end

  defp record_failure(breaker, _now), do: %{breaker | failures: breaker.failures + 1}
end
