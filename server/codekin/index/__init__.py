"""The durable index of one workspace: fragments, vectors of several spaces, words.

`Index` is the door; `Query` and `rank` search in the `View` it hands out. Knows neither
models nor syntax: vectors and fragments come from outside.
"""

from codekin.index.journal import Change, Edit
from codekin.index.masks import mask
from codekin.index.reading import Status
from codekin.index.rows import FileState
from codekin.index.search import Query, Ranking, View, rank
from codekin.index.spaces import Space
from codekin.index.store import Index

__all__ = ["Change", "Edit", "FileState", "Index", "Query", "Ranking", "Space", "Status", "View", "mask", "rank"]
