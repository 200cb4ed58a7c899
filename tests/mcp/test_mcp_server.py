"""`codekin mcp` as an agent meets it: the installed command, the SDK's own client, a real daemon and index."""

import json
import os
import shutil
import signal
import subprocess

import anyio
import httpx2
import pytest
from agents import SAMPLE, agent, sentence_of, text_of
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from codekin.daemon.client import DaemonClient
from codekin.mcp.rendering import count_tokens
from daemons import COMMAND, daemons_of, kill, processes_of, run_codekin
from mcp import types

READ_ONLY = {"read_only_hint": True, "destructive_hint": False, "idempotent_hint": True, "open_world_hint": False}


async def test_every_tool_is_described_and_only_reads(sample):
    """A client can show what each tool takes and gives, and need not ask before it calls one."""
    async with agent(cwd=sample) as client:
        tools = (await client.list_tools()).tools
        assert client.instructions.startswith("Codekin knows this repository")
    assert {"search", "similar", "read_chunk", "outline", "duplicates", "status"} <= {tool.name for tool in tools}
    for tool in tools:
        hints = tool.annotations.model_dump(exclude={"title"})
        assert hints == READ_ONLY
        assert tool.input_schema["type"] == tool.output_schema["type"] == "object"
        assert all("description" in about for about in tool.input_schema["properties"].values()), tool.name


async def test_search_finds_code_by_what_it_does(sample):
    """The best place comes with its whole code, as text and as typed values."""
    async with agent(cwd=sample) as client:
        result = await client.call_tool("search", {"query": "retry with backoff", "limit": 4})
    first = result.structured_content["places"][0]
    lines = (sample / first["path"]).read_text().split("\n")
    assert first["path"] in {"include/storehouse/retry.hpp", "lib/storehouse/retry.ex"}
    assert first["code"] == "\n".join(lines[first["start_line"] - 1 : first["end_line"]])
    assert f"{first['path']}:{first['start_line']}-{first['end_line']}" in text_of(result)
    assert first["code"] in text_of(result)


async def test_answers_keep_to_their_budget(sample):
    """Both forms of an answer have at most as many tokens as allowed; what is shown is whole code or a head."""
    totals = set()
    async with agent(cwd=sample) as client:
        for allowed in (300, 1000, 4000):
            arguments = {"query": "add an entry to the cache", "limit": 30, "max_tokens": allowed}
            result = await client.call_tool("search", arguments)
            again = await client.call_tool("search", arguments)
            assert result.structured_content == again.structured_content
            assert count_tokens(text_of(result), json.dumps(result.structured_content)) <= allowed
            found = result.structured_content
            totals.add(len(found["places"]) + found["omitted"])
            for place in found["places"]:
                lines = (sample / place["path"]).read_text().split("\n")
                whole = "\n".join(lines[place["start_line"] - 1 : place["end_line"]])
                assert place.get("code") == whole or place["signature"]
    assert len(totals) == 1


async def test_a_chunk_is_read_by_its_name_or_line(sample):
    """The same function, whole, by its name, by its name in a file, and by a line in it."""
    by_line = {"path": "lib/storehouse/retry.ex", "line": 9}
    by_name = {"name": "Storehouse.Retry.with_backoff/2"}
    by_name_in_file = {"path": "lib/storehouse/retry.ex", "name": "with_backoff"}
    async with agent(cwd=sample) as client:
        responses = [await client.call_tool("read_chunk", given) for given in (by_line, by_name, by_name_in_file)]
        assert {json.dumps(answer.structured_content) for answer in responses} == {
            json.dumps(responses[0].structured_content)
        }
        assert text_of(responses[0]).startswith("lib/storehouse/retry.ex:4-12 Storehouse.Retry.with_backoff/2\n")
        missing = await client.call_tool("read_chunk", {"path": "lib/storehouse/retry.ex", "name": "nothing"})
        assert sentence_of(missing) == "lib/storehouse/retry.ex has nothing named nothing; `outline` lists what it has."


async def test_long_code_is_read_on_where_it_ended(sample):
    """What exceeds the budget ends with a whole line and says where to go on."""
    path = "include/storehouse/lru_cache.hpp"
    lines = (sample / path).read_text().split("\n")
    read, line = [], 1
    async with agent(cwd=sample) as client:
        while line:
            given = {"path": path, "line": line, "end_line": len(lines), "max_tokens": 200}
            found = (await client.call_tool("read_chunk", given)).structured_content
            read, line = [*read, found["code"]], found["next_line"]
    assert len(read) > 1
    assert "\n".join(read) == "\n".join(lines)


async def test_an_outline_shows_heads_with_their_lines(sample):
    """A file's functions with their heads, and a folder's files."""
    async with agent(cwd=sample) as client:
        of_file = await client.call_tool("outline", {"path": "lib/storehouse/retry.ex"})
        of_root = await client.call_tool("outline", {})
        nowhere = await client.call_tool("outline", {"path": "nowhere"})
    entries = {entry["name"]: entry for entry in of_file.structured_content["entries"]}
    assert entries["with_backoff/2"]["signature"] == "def with_backoff(fun, options \\\\ [])"
    assert {"lib/", "src/", "include/"} <= {entry["name"] for entry in of_root.structured_content["entries"]}
    assert sentence_of(nowhere).startswith("Nothing at nowhere is indexed")


async def test_similar_code_and_duplicates(sample):
    """Code like that at a place in the other language, and groups of near-duplicates."""
    place = {"path": "lib/storehouse/retry.ex", "line": 9, "languages": ["cpp"]}
    async with agent(cwd=sample) as client:
        similar = (await client.call_tool("similar", place)).structured_content["places"]
        groups = (await client.call_tool("duplicates", {})).structured_content["groups"]
    assert similar[0]["path"] == "include/storehouse/retry.hpp"
    assert groups
    assert all(len(group) > 1 for group in groups)


async def test_wrong_arguments_are_one_sentence(sample):
    """An agent learns from a failure what to do."""
    async with agent(cwd=sample) as client:
        assert "missing required field `query`" in sentence_of(await client.call_tool("search", {}))
        assert "`limit`" in sentence_of(await client.call_tool("search", {"query": "x", "limit": 0}))
        assert "unknown field `depth`" in sentence_of(await client.call_tool("status", {"depth": 1}))
        assert "outside the workspace" in sentence_of(
            await client.call_tool("read_chunk", {"path": "../../etc/passwd", "line": 1})
        )
        assert sentence_of(await client.call_tool("similar", {})) == "Give a `snippet`, or a `path` and a `line`."


async def test_a_folder_that_is_not_indexed_says_how(sample, tmp_path):
    """A question makes no index; the sentence says how to make one."""
    folder = tmp_path / "fresh"
    folder.mkdir()
    async with agent("--root", folder, cwd=sample) as client:
        sentence = sentence_of(await client.call_tool("status", {}))
    assert sentence == f"{folder} is not indexed: run `codekin index {folder}`, or open the folder in an editor."


async def test_a_new_folder_is_indexed_where_that_was_allowed(data, tmp_path):
    """With --index the first question waits until words are found, and reports how far it is."""
    folder = tmp_path / "fresh"
    shutil.copytree(SAMPLE, folder)
    steps = []

    async def note(progress, total, message):
        steps.append((progress, total, message))

    async with agent("--root", folder, "--index", cwd=tmp_path) as client:
        result = await client.call_tool("search", {"query": "with_backoff", "limit": 1}, progress_callback=note)
        assert "retry" in result.structured_content["places"][0]["path"]
    assert steps
    assert steps[0][2] == "Indexing fresh"


async def test_the_root_is_the_clients(sample, tmp_path):
    """A client that has roots is answered about them, wherever the server was started."""

    async def list_roots(_context):
        return types.ListRootsResult(roots=[types.Root(uri=sample.as_uri())])

    async with agent(cwd=tmp_path, list_roots_callback=list_roots) as client:
        found = (await client.call_tool("status", {})).structured_content
        other = await client.call_tool("status", {"root": "elsewhere"})
    assert found["root"] == str(sample)
    assert sentence_of(other) == f"elsewhere is none of the roots, which are {sample}."


async def test_a_client_of_the_newest_protocol_is_served(sample):
    """The protocol without a handshake works as well."""
    async with agent(cwd=sample, mode="auto") as client:
        assert client.protocol_version >= "2026"
        assert (await client.call_tool("status", {})).structured_content["root"] == str(sample)


def test_a_client_that_leaves_ends_the_server(sample):
    """Without input the server ends by itself, in silence."""
    done = run_codekin("mcp", cwd=sample)
    assert (done.status, done.out, done.err) == (0, "", "")


async def test_code_that_exists_already_is_found_before_it_is_written(sample):
    """A renamed copy, by its code; a function, by what it does; and silence for what is new."""
    copy = (sample / "lib/storehouse/retry.ex").read_text().replace("with_backoff", "insist").replace("limit", "most")
    new = """def f(day, month, year) do
      age = rem(day + month * 30, 29)
      Moon.phase_names()
      |> elem(div(age, year))
      |> Moon.render(:full)
    end"""
    async with agent(cwd=sample) as client:
        copied = (await client.call_tool("already_exists", {"code": copy})).structured_content["existing"]
        described = await client.call_tool("already_exists", {"description": "retry with exponential backoff"})
        nothing = await client.call_tool("already_exists", {"code": new, "language": "elixir"})
        empty = await client.call_tool("already_exists", {})
    assert copied[0]["relation"] == "renamed copy"
    assert copied[0]["place"]["path"] == "lib/storehouse/retry.ex"
    assert any("insist" in word for word in copied[0]["evidence"])
    assert described.structured_content["existing"][0]["place"]["name"] in {
        "Storehouse.Retry.with_backoff/2",
        "storehouse::retry_with_backoff",
    }
    assert text_of(nothing) == "Nothing here does the same."
    assert sentence_of(empty).startswith("`code` or `description` must have")


async def test_unsaved_texts_of_editors_are_seen(sample):
    """What an editor holds lies over its file, for an agent as well."""
    path = "lib/storehouse/retry.ex"
    unsaved = (sample / path).read_text().replace("with_backoff", "with_unsaved_patience")
    with DaemonClient.connect() as client:
        client.post("/buffers", {"root": str(sample), "path": path, "text": unsaved})
        try:
            async with agent(cwd=sample) as client_of_agent:
                given = {"path": path, "name": "with_unsaved_patience"}
                found = (await client_of_agent.call_tool("read_chunk", given)).structured_content
        finally:
            client.post("/buffers", {"root": str(sample), "path": path, "text": None})
    assert "def with_unsaved_patience(fun" in found["code"]


async def test_a_cancelled_call_leaves_the_server_serving(sample):
    """The agent may give up at any moment and ask something else."""
    async with agent(cwd=sample) as client:
        for seconds in (0.001, 0.02, 0.1):
            with anyio.move_on_after(seconds):
                await client.call_tool("duplicates", {"max_tokens": 50_000})
        assert (await client.call_tool("status", {})).structured_content["root"] == str(sample)


@pytest.fixture
def http_address(sample):
    """Where `codekin mcp --http` serves."""
    process = subprocess.Popen([COMMAND, "mcp", "--http", "0"], cwd=sample, stderr=subprocess.PIPE, text=True)
    yield process.stderr.readline().split(" at ")[1].split(";")[0]
    process.terminate()
    process.communicate()


async def test_http_needs_the_token(http_address, data):
    """Over HTTP the same tools answer, to those who bring the user's token; nobody else is let in."""
    headers = {"Authorization": f"Bearer {(data / 'token').read_text()}"}
    async with httpx2.AsyncClient() as stranger:
        assert (await stranger.post(http_address, json={})).status_code == 401
        rebound = await stranger.post(http_address, json={}, headers={**headers, "Host": "evil.example"})
        assert rebound.status_code in {403, 421}
    bearer = httpx2.AsyncClient(headers=headers, timeout=60)
    async with bearer, Client(streamable_http_client(http_address, http_client=bearer), mode="legacy") as client:
        found = await client.call_tool("search", {"query": "retry with backoff", "limit": 1})
    assert found.structured_content["places"]


async def test_agents_share_one_process_that_can_be_killed(sample, data):
    """The process with the SDK serves all agents; the next agent starts another one where it was killed."""
    async with agent(cwd=sample) as one, agent(cwd=sample) as other:
        await one.call_tool("status", {})
        await other.call_tool("status", {})
        (host,) = processes_of(data, "codekin.mcp.host")
    kill(host.pid)
    async with agent(cwd=sample) as third:
        assert (await third.call_tool("status", {})).structured_content["root"] == str(sample)


async def test_an_agent_does_not_wait_for_a_suspended_daemon(sample, data):
    """A daemon that stops answering is a sentence within seconds, and is used again once it goes on."""
    async with agent(cwd=sample) as client:
        await client.call_tool("search", {"query": "retry"})
        (pid,) = daemons_of(data)
        os.kill(pid, signal.SIGSTOP)
        try:
            with anyio.fail_after(60):
                assert "does not answer" in sentence_of(
                    await client.call_tool("search", {"query": "retry with backoff"})
                )
        finally:
            os.kill(pid, signal.SIGCONT)
        assert not (await client.call_tool("search", {"query": "retry"})).is_error
