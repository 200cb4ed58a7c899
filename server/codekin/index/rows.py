"""Between rows of the database and the records of the program, with their checks.

A row that does not match its checksum raises StoreError here; whoever reads it drops the
file it belongs to, which the next scan reads again.
"""

import json
import zlib
from dataclasses import dataclass

from codekin.errors import StoreError
from codekin.index.schema import row_check
from codekin.records import Fragment, Shape


@dataclass(frozen=True, slots=True)
class FileState:
    """What is known of a file; `skipped` is the reason why it has no fragments, or empty.

    `buffer` says that the fragments come from an unsaved buffer that lies over the file.
    """

    size: int
    mtime_ns: int
    inode: int
    hash: str
    language: str = ""
    skipped: str = ""
    buffer: bool = False


def file_row(path: bytes, state: FileState) -> tuple[bytes, int, int, int, str, str, str, int]:
    """The columns of the file table from `path` to `buffer`."""
    skipped = state.skipped.encode("utf-8", "replace").decode()
    return (path, state.size, state.mtime_ns, state.inode, state.hash, state.language or "", skipped, int(state.buffer))


def read_file_row(row: tuple[bytes, int, int, int, str, str, str, int, int]) -> tuple[str, FileState]:
    """The path and state of a file row with its check; raises StoreError when damaged."""
    *values, check = row
    if row_check(*values) != check:
        raise StoreError("a row of the index is damaged")
    path, size, mtime_ns, inode, digest, language, skipped, buffer = row[:8]
    return read_path(path), FileState(size, mtime_ns, inode, digest, language, skipped, bool(buffer))


def write_path(path: str) -> bytes:
    """A path as the bytes that are stored."""
    return path.encode("utf-8", "surrogateescape")


def read_path(path: bytes) -> str:
    """The reverse of `write_path`."""
    return path.decode("utf-8", "surrogateescape")


def write_body(text: str) -> bytes:
    """A text, compressed; zlib's own checksum guards it."""
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def read_body(body: bytes | None) -> str | None:
    """The reverse of `write_body`; raises StoreError when damaged."""
    try:
        return None if body is None else zlib.decompress(body).decode("utf-8", "surrogatepass")
    except (zlib.error, UnicodeDecodeError) as error:
        raise StoreError("a text of the index is damaged") from error


def write_detail(fragment: Fragment) -> bytes:
    """The documentation and shape of a fragment, compressed."""
    shape = fragment.shape
    parts = [fragment.doc, shape.uses, shape.behaviours, shape.callbacks, shape.calls, shape.control]
    return zlib.compress(json.dumps(parts).encode(), 1)


def read_detail(detail: bytes) -> tuple[str, Shape]:
    """The reverse of `write_detail`; raises StoreError when damaged."""
    try:
        doc, *names = json.loads(zlib.decompress(detail))
    except (zlib.error, ValueError) as error:
        raise StoreError("a row of the index is damaged") from error
    return doc, Shape(*(tuple(part) for part in names))


def clean(name: str) -> str:
    """A name as SQLite can store it."""
    return name.encode("utf-8", "replace").decode()


def fragment_row(fragment: Fragment) -> tuple[str, str, str, int, int, int, int, bytes]:
    """The columns of the fragment table from `language` to `detail`."""
    return (
        fragment.language,
        clean(fragment.kind),
        clean(fragment.name),
        fragment.start_line,
        fragment.end_line,
        fragment.part,
        sample_level(bytes.fromhex(fragment.digest)),
        write_detail(fragment),
    )


def sample_level(digest: bytes) -> int:
    """How many halvings of all fragments this one stays in, by its content hash (0 to 32).

    Those that stay in after n halvings are a fixed random sample of one in 2^n.
    """
    word = int.from_bytes(digest[:4], "little") | 1 << 32
    return (word & -word).bit_length() - 1


def read_fragment(row: tuple[bytes, str, str, str, int, int, int, bytes, bytes]) -> Fragment:
    """A fragment from its path, columns and body; raises StoreError when damaged."""
    path, language, kind, name, start, end, part, detail, body = row
    doc, shape = read_detail(detail)
    return Fragment(read_path(path), language, kind, name, start, end, read_body(body) or "", doc, part, shape)
