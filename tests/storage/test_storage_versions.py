"""An index that another version of Codekin wrote is moved or rebuilt, with one sentence and all its vectors."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from codekin.errors import StoreError
from codekin.storage import ChunkIndex
from codekin.storage.database import DATABASE_NAME, MOVED_MESSAGE, SCHEMA_VERSION
from index_samples import EMBEDDER, FUNCTIONS, chunk, content, fill, path_of, put

FILES = 6

BACK_TO_0_1_0 = """
DROP INDEX chunk_by_file;
DROP INDEX chunk_by_content;
ALTER TABLE chunk RENAME COLUMN checksum TO checked;
ALTER TABLE chunk RENAME TO fragment;
ALTER TABLE file RENAME COLUMN checksum TO checked;
ALTER TABLE space RENAME COLUMN checksum TO checked;
ALTER TABLE content RENAME COLUMN last_used TO touched;
CREATE INDEX fragment_by_file ON fragment(file_id);
CREATE INDEX fragment_by_content ON fragment(content_id);
DELETE FROM meta WHERE key='text_index';
INSERT INTO meta VALUES('lexical', 'lexical-7');
UPDATE meta SET value=3 WHERE key='version';
"""


def run_sql(folder: Path, script: str) -> None:
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as database:
        database.executescript(script)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index as 0.1.0 left it, with an edit in its journal and its text index in `lexical-7`."""
    with ChunkIndex.open(tmp_path / "index", write=True) as index:
        fill(index, FILES)
        put(index, path_of(0), 1, "cpp")
        index.flush(force=True)
    run_sql(tmp_path / "index", BACK_TO_0_1_0)
    for path in (tmp_path / "index").glob("text-index-*"):
        path.rename(tmp_path / "index" / "lexical-7")
    return tmp_path / "index"


def test_an_index_of_0_1_0_is_moved_with_one_sentence(folder: Path, tmp_path: Path) -> None:
    """Chunks, vectors, journal and edits are as before; words are found; nothing of the old text index is left."""
    with ChunkIndex.open(tmp_path / "today", write=True) as today:
        fill(today, FILES)
        put(today, path_of(0), 1, "cpp")
        today.flush(force=True)
        expected = content(today)
    with ChunkIndex.open(folder, write=True) as index:
        assert index.pop_repair_messages() == [MOVED_MESSAGE]
        assert index.inspect() == []
        assert content(index) == expected
        assert index.status().vectors == FILES * FUNCTIONS
        assert [edit.new_text for edit in index.changes()[-1].edits if edit.new_text]
        assert list(folder.glob("lexical-*")) == []
    with ChunkIndex.open(folder, write=True) as index:
        assert index.pop_repair_messages() == []


def test_a_reader_says_that_an_index_of_0_1_0_has_to_be_moved(folder: Path) -> None:
    """A window that opens before the writer gets a sentence that says what to do."""
    with pytest.raises(StoreError, match=r"written by another version of Codekin: run `codekin index`"):
        ChunkIndex.open(folder)


@pytest.mark.parametrize("version", [2, SCHEMA_VERSION + 1])
def test_an_index_of_an_unknown_version_is_rebuilt_with_its_vectors(folder: Path, version: int) -> None:
    """Where no step leads to today's schema, journal and vectors are kept and the files are read again."""
    run_sql(folder, f"UPDATE meta SET value={version} WHERE key='version'")
    with ChunkIndex.open(folder, write=True) as index:
        (sentence,) = index.pop_repair_messages()
        assert sentence == (
            "The index was written by another version of Codekin and is being rebuilt; its vectors are kept."
        )
        digests = [chunk(path_of(number), 1, 0, "elixir" if number % 2 else "cpp").digest for number in range(FILES)]
        assert index.missing_digests(EMBEDDER.space, digests) == []
        assert len(index.changes()) == FILES + 1
        assert list(folder.glob("lexical-*")) == []


def test_a_damaged_index_of_0_1_0_is_rebuilt(folder: Path) -> None:
    """A table that is missing ends the move; the database is replaced and its vectors are kept."""
    run_sql(folder, "DROP TABLE fragment")
    with ChunkIndex.open(folder, write=True) as index:
        assert index.pop_repair_messages() == ["The index database was damaged and has been rebuilt."]
        assert index.missing_digests(EMBEDDER.space, [chunk(path_of(1), 1).digest]) == []
