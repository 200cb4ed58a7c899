"""The fine-tuning commands, and the plugin as a package."""

import sys
from pathlib import Path

SCRIPTED = [sys.executable, str(Path(__file__).parent / "scripted_server.py")]
RUN = {
    "started": "2026-11-21T02:00:03Z",
    "decision": "activated",
    "reason": "better by more than chance",
    "active": True,
    "checkpoint": "c7",
    "before": {"map": 0.41},
    "after": {"map": 0.48},
}


def test_finetuning_history_and_rollback(start_neovim, script, project):
    """The runs are listed, and any of them can be chosen to go back to."""
    response = {"message": "Searched with the model as it came now.", "active": "base"}
    history = {"runs": [RUN, {**RUN, "checkpoint": None, "decision": "kept", "active": False}], "active": "c7"}
    script.suggest(**{"/history": history, "/rollback": response, "/finetune": {"message": "Fine-tuning has started."}})
    neovim = start_neovim()
    neovim.enable(SCRIPTED)
    neovim.open(project / "lib" / "retry.ex")
    neovim.attached()
    neovim.api.command("Codekin finetune")
    neovim.until(lambda: any("Fine-tuning has started." in line for line in neovim.messages()))
    neovim.api.command("Codekin history")
    neovim.until(lambda: neovim.lua("return vim.wo.winbar") == "Fine-tuning runs")
    assert neovim.lines()[0] == "* 2026-11-21T02:00  activated   MAP 0.410 → 0.480  better by more than chance"
    neovim.keys("q")
    neovim.lua("vim.ui.select = function(items, o, choose) offered = #items; choose(items[1]) end")
    neovim.api.command("Codekin rollback")
    neovim.until(lambda: script.asked("/rollback"))
    assert neovim.lua("return offered") == 2
    assert script.asked("/rollback") == [{"root": str(project), "checkpoint": "base"}]
    neovim.until(lambda: any("as it came" in line for line in neovim.messages()))


def test_as_a_package(start_neovim, script, project, tmp_path):
    """`packadd` and `vim.lsp.enable` are all that an installation needs."""
    package = tmp_path / "site" / "pack" / "any" / "opt"
    package.mkdir(parents=True)
    plugin = Path(__file__).parents[3] / "editors" / "nvim"
    (package / "codekin").symlink_to(plugin)
    neovim = start_neovim(runtime=tmp_path / "empty")
    neovim.api.command(f"set packpath^={tmp_path / 'site'}")
    neovim.api.command("packadd codekin")
    neovim.enable(SCRIPTED)
    neovim.open(project / "lib" / "retry.ex")
    neovim.attached()
    assert neovim.lua("return vim.lsp.config.codekin.init_options.showSimilarCommand") == "codekin.showSimilar"
    script.suggest({"text": "one"})
    neovim.keys("Ox ")
    neovim.until(lambda: neovim.ghost() == "one")
