"""Unsaved texts count for as long as their windows live, and the last edit counts among several windows."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.daemon.client import AsyncDaemonClient
from codekin.daemon.services import buffers
from codekin.daemon.services.buffers import WindowBuffers
from codekin.errors import UsageError
from daemons import eventually_async

A, B = "window a", "window b"


@pytest.fixture
def store():
    """Two windows follow the workspace."""
    found = WindowBuffers()
    found.attach(A)
    found.attach(B)
    return found


def test_the_last_edit_counts_whatever_its_version(store):
    """Versions of two windows are never compared."""
    store.put("a.ex", "first", window=A, version=100, edited_at=1)
    assert store.put("a.ex", "second", window=B, version=2, edited_at=2)
    assert store.texts == {"a.ex": "second"}


def test_the_other_windows_text_stays_when_one_closes_the_file(store):
    """The window that closes the file takes its own text away alone."""
    store.put("a.ex", "of a", window=A, edited_at=1)
    store.put("a.ex", "of b", window=B, edited_at=2)
    assert not store.put("a.ex", None, window=A)
    assert store.texts == {"a.ex": "of b"}
    assert store.put("a.ex", None, window=B)
    assert store.texts == {}


def test_an_edit_counts_over_a_window_that_only_opened_the_file(store):
    """A file opened unedited in a second window keeps the text typed in the first."""
    store.put("a.ex", "typed", window=A, edited_at=1)
    assert not store.put("a.ex", "on disk", window=B)
    assert store.texts == {"a.ex": "typed"}


def test_a_window_that_ends_takes_its_texts_with_it(store):
    """Closing an editor drops its unsaved texts, files that were never saved included."""
    store.put("a.ex", "of a", window=A, edited_at=1)
    store.put("never_saved.ex", "new", window=A, edited_at=1)
    store.put("a.ex", "of b", window=B)
    assert sorted(store.detach(A)) == ["a.ex", "never_saved.ex"]
    assert store.texts == {"a.ex": "of b"}


def test_a_second_stream_keeps_the_texts_of_a_window(store):
    """A window that reconnects before its old stream has ended keeps what it sent."""
    store.attach(A)
    store.put("a.ex", "kept", window=A)
    assert store.detach(A) == []
    assert store.texts == {"a.ex": "kept"}


def test_a_text_that_arrives_after_its_window_has_gone_is_ignored(store):
    """The last message of a killed window may be read after its end."""
    store.detach(A)
    assert not store.put("a.ex", "late", window=A)
    assert store.texts == {}


def test_a_window_may_count_its_versions_anew(store):
    """A document that is closed and opened again begins at version 1."""
    store.put("a.ex", "old", window=A, version=50)
    assert store.put("a.ex", "new", window=A, version=1)
    assert store.texts == {"a.ex": "new"}


def test_texts_beyond_the_limit_are_refused_with_a_sentence(store, monkeypatch):
    """The text that is too much is named, and the others stay."""
    monkeypatch.setattr(buffers, "TOTAL_LIMIT", 10)
    store.put("a.ex", "12345", window=A)
    with pytest.raises(UsageError, match=r"save b\.ex\."):
        store.put("b.ex", "123456", window=A)
    assert store.texts == {"a.ex": "12345"}


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("attach"), st.sampled_from("abc")),
        st.tuples(st.just("detach"), st.sampled_from("abc")),
        st.tuples(st.just("put"), st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 1)),
        st.tuples(st.just("close"), st.sampled_from("abc"), st.sampled_from("xy")),
    ),
    max_size=40,
)


@given(OPERATIONS)
def test_windows_that_come_and_go_agree_with_a_model(operations):
    """The model keeps a plain list of all texts and looks through it."""
    store, streams, kept = WindowBuffers(), dict.fromkeys("abc", 0), []
    for number, (operation, window, *about) in enumerate(operations):
        if operation == "attach":
            store.attach(window)
            streams[window] += 1
        elif operation == "detach" and streams[window]:
            store.detach(window)
            streams[window] -= 1
            kept = [entry for entry in kept if entry["window"] != window or streams[window]]
        elif operation in {"put", "close"}:
            path = about[0]
            text = f"text {number}" if operation == "put" else None
            edited_at = number + 1 if operation == "put" and about[1] else 0
            store.put(path, text, window=window, edited_at=edited_at)
            if streams[window]:
                kept = [entry for entry in kept if (entry["window"], entry["path"]) != (window, path)]
                if text is not None:
                    kept.append({"window": window, "path": path, "text": text, "edited": edited_at, "at": number})
        ordered = sorted(kept, key=lambda entry: (entry["edited"], entry["at"]))
        assert dict(store.texts) == {entry["path"]: entry["text"] for entry in ordered}


async def test_the_daemon_forgets_the_texts_of_a_window_that_ends(data, root):
    """The end of the event stream, however it comes, is the end of the window."""
    client = await AsyncDaemonClient.connect(data)
    text = "defmodule Typed do\n  def typed_only(x), do: x\nend\n"

    async def follow() -> None:
        async for _event in client.events(str(root), A):
            connected.set()

    async def name() -> str:
        found = await client.post("/similar", {"root": str(root), "path": "alpha.ex", "line": 2})
        return found["query"]["name"]

    connected = asyncio.Event()
    following = asyncio.create_task(follow())
    await connected.wait()
    await client.post("/buffers", {"root": str(root), "path": "alpha.ex", "text": text, "window": A})
    assert await name() == "Typed"
    following.cancel()
    await asyncio.wait({following})

    async def is_back() -> bool:
        return await name() == "Alpha.fetch/3"

    await eventually_async(is_back)
    await client.close()
