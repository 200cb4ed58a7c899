defmodule Storehouse.CarrierClient do
  @moduledoc "Books parcels with the carrier, whose service is often away for a moment."

  require Logger

  @max_attempts 4

  def book(parcel, transport) do
    send_with_retries(parcel, transport, 1)
  end

  defp send_with_retries(parcel, transport, attempt) do
    case transport.(parcel) do
      {:ok, label} ->
        {:ok, label}

      {:error, reason} when attempt >= @max_attempts ->
        Logger.error("carrier refused parcel #{parcel.id}: #{inspect(reason)}")
        {:error, reason}

      {:error, _temporary} ->
        Process.sleep(min(200 * Integer.pow(2, attempt - 1), 4_000))
        send_with_retries(parcel, transport, attempt + 1)
    end
  end
end
