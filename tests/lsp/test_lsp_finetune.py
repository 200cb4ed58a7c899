"""Fine-tuning in the editor: its progress, the message that a new model took over, and the way back."""

import asyncio

import pytest

PROGRESS = {"window": {"workDoneProgress": True}}
RUN = {"decision": "activated", "before": {"map": 0.51}, "after": {"map": 0.556}}


async def finish_run(window, root, run: dict) -> None:
    """The steps of a run and its end, as the daemon sends them."""
    stream = window.daemon.streams.setdefault(str(root), asyncio.Queue())
    for done in (1, 2, 3):
        stream.put_nowait({"event": "finetune", "running": True, "phase": "training", "done": done, "total": 3})
    stream.put_nowait({"event": "finetune", "running": False, "run": run})
    stream.put_nowait({"event": "finetune", "running": False})


async def test_a_new_model_is_announced_with_its_gain_and_can_be_rolled_back(window, root):
    """The one button leads to the model before, and the answer is shown."""
    window.replies["window/showMessageRequest"] = lambda params: params["actions"][0]
    await window.begin(root)
    await finish_run(window, root, RUN)
    shown = await window.until(lambda: window.notifications("window/showMessage"))
    (request,) = (m["params"] for m in window.sent if m.get("method") == "window/showMessageRequest")
    assert "+4.6 points" in request["message"]
    assert request["actions"] == [{"title": "Roll back"}]
    assert window.daemon.bodies("/rollback") == [{"root": str(root), "checkpoint": None}]
    assert shown[0]["message"] == "Searched with the model as it came now."


async def test_a_trained_encoder_is_not_reported_as_serving_before_it_does(window, root):
    """All is embedded anew first, which takes minutes."""
    await window.begin(root)
    await finish_run(window, root, {**RUN, "method": "lora"})
    sent = lambda: [m["params"] for m in window.sent if m.get("method") == "window/showMessageRequest"]  # noqa: E731
    (request,) = await window.until(sent)
    assert f"A new model takes over in {root.name} once all is embedded anew: +4.6 points" in request["message"]


@pytest.mark.parametrize("decision", ["kept", "skipped", "dry run"])
async def test_other_decisions_show_no_message(window, root, decision):
    """A run without a new model shows no message."""
    await window.begin(root, capabilities=PROGRESS)
    await finish_run(window, root, {"decision": decision})
    await window.until(lambda: [p for p in window.notifications("$/progress") if p["value"]["kind"] == "end"])
    assert not [m for m in window.sent if m.get("method") == "window/showMessageRequest"]


async def test_the_progress_of_a_run_is_begun_and_ended_once(window, root):
    """One token for each run, and none left behind."""
    await window.begin(root, capabilities=PROGRESS)
    await finish_run(window, root, {"decision": "kept"})
    await window.until(lambda: [p for p in window.notifications("$/progress") if p["value"]["kind"] == "end"])
    kinds = [params["value"]["kind"] for params in window.notifications("$/progress")]
    assert (kinds[0], kinds[-1], kinds.count("begin"), kinds.count("end")) == ("begin", "end", 1, 1)
    assert len({params["token"] for params in window.notifications("$/progress")}) == 1


async def test_a_failure_is_reported_once_and_does_not_stay(window, root):
    """Too little code, a refused checkpoint: one message, and the status item goes on as before."""
    await window.begin(root, capabilities=PROGRESS)
    stream = window.daemon.streams.setdefault(str(root), asyncio.Queue())
    stream.put_nowait({"event": "finetune", "running": True, "phase": "mining", "done": 1, "total": 3})
    stream.put_nowait({"event": "finetune", "running": False, "problem": "Not enough BEAM code: 1 function."})
    stream.put_nowait({"event": "finetune", "running": False})
    stream.put_nowait({"event": "status", "state": "ready", "problems": []})
    await window.until(lambda: [p for p in window.notifications("$/progress") if p["value"]["kind"] == "end"])
    await window.until(lambda: window.notifications("window/showMessage"))
    (shown,) = window.notifications("window/showMessage")
    assert shown == {"type": 2, "message": f"{root.name}: Not enough BEAM code: 1 function."}
    assert window.notifications("codekin/status")[-1]["kind"] == "Normal"


async def test_commands_send_the_requests(window, root):
    """A client that knows only commands can fine-tune, look at the history and roll back."""
    await window.begin(root)
    commands = [
        ("codekin.finetune", {"dryRun": True}),
        *(("codekin.rollbackTo", {"checkpoint": at}) for at in ("base", 3)),
    ]
    for command, argument in commands:
        await window.ask("workspace/executeCommand", {"command": command, "arguments": [argument]})
    history = await window.ask("workspace/executeCommand", {"command": "codekin.finetuneHistory"})
    assert history == {"runs": [], "active": "base"}
    assert window.daemon.bodies("/finetune") == [{"root": str(root), "dry_run": True, "background": True}]
    assert window.daemon.bodies("/rollback") == [{"root": str(root), "checkpoint": name} for name in ("base", "3")]
