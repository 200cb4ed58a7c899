defmodule ShopWeb.EntryLive do
  use Phoenix.Component

  attr :entry, :map
  slot :actions

  def entry(assigns) do
    ~H"""
    <.card title={@entry.name}>
      <Shop.Money.amount value={@entry.amount} />
      <:footer>{render_slot(@actions)}</:footer>
    </.card>
    """
  end
end
