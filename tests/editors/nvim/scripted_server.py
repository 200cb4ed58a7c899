"""`codekin lsp` with a daemon that follows a script: the protocol and all handlers are the real ones.

The script, a JSON file, is read at each question: {"items": [{"text", "back", "ahead"}, …], "wait"},
where `back` and `ahead` count the characters around the cursor that are replaced, and `wait`
is in seconds. Events and questions are added to the script's file with the suffix .log.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from codekin.lsp import server
from codekin.lsp.features.completion import WARM_UP_WINDOW

SCRIPT = Path(os.environ["CODEKIN_TEST_SCRIPT"])


class ScriptedDaemon:
    async def get(self, path: str, **query: Any) -> Any:
        return await self.post(path, query)

    async def post(self, path: str, body: Any = None, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        if (body or {}).get("window") == WARM_UP_WINDOW:
            return {"items": []}
        script = json.loads(SCRIPT.read_text())  # noqa: ASYNC240
        with SCRIPT.with_suffix(".log").open("a") as log:
            log.write(json.dumps({"path": path, "body": body}) + "\n")
        if path == "/complete":
            await asyncio.sleep(script.get("wait", 0))
            return {"items": [suggestion(body, *item) for item in enumerate(script["items"])], "model": "m", "ms": 1}
        return script.get(path, {})

    async def lines(self, path: str, body: Any = None, method: str = "POST") -> Any:
        yield {"result": await self.post(path, body)}

    async def events(self, root: str, window: str) -> Any:
        yield {"event": "connected"}
        await asyncio.Event().wait()

    async def close(self) -> None:
        return


def suggestion(body: dict, number: int, item: dict) -> dict:
    at = body["character_offset"]
    replaced = {"replace_start": at - item.get("back", 0), "replace_end": at + item.get("ahead", 0)}
    return {"id": f"{body['version']}-{number}", "text": item["text"], "kind": "line", **replaced}


async def connect(_data: Path | None) -> ScriptedDaemon:
    return ScriptedDaemon()


server._connect = connect
server.main([])
