"""A small workspace."""

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    for name in ("alpha", "beta"):
        (folder / f"{name}.ex").write_text(
            f"defmodule {name.title()} do\n"
            "  def fetch(cache, key, default) do\n"
            "    case Map.get(cache, key) do\n"
            "      nil -> {:ok, default}\n"
            "      :expired -> {:error, :expired}\n"
            "      value -> {:ok, value}\n"
            "    end\n"
            "  end\n"
            "end\n"
        )
    return folder
