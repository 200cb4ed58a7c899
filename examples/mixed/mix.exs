defmodule Storehouse.MixProject do
  use Mix.Project

  def project do
    [
      app: :storehouse,
      version: "0.3.0",
      elixir: "~> 1.15",
      start_permanent: Mix.env() == :prod,
      deps: []
    ]
  end

  def application do
    [extra_applications: [:logger], mod: {Storehouse.Application, []}]
  end
end
