"""The durable index of one workspace: chunks, vectors, the text index and the journal.

`ChunkIndex` opens it for its one writer or for any reader.
"""

from codekin.protocols import EmbeddingSpace, IndexStatus
from codekin.storage.database import FileState
from codekin.storage.files import ChunkEdit, JournalEntry
from codekin.storage.index import ChunkIndex

__all__ = ["ChunkEdit", "ChunkIndex", "EmbeddingSpace", "FileState", "IndexStatus", "JournalEntry"]
