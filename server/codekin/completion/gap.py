"""The place to be filled: a document cut in two at the cursor."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gap:
    """A path relative to the workspace, its language, and the text before and behind the cursor."""

    path: str
    language: str
    prefix: str
    suffix: str

    @property
    def line_before(self) -> str:
        """What stands on the cursor's line before it."""
        return self.prefix[self.prefix.rfind("\n") + 1 :]

    @property
    def line_behind(self) -> str:
        """What stands on the cursor's line behind it."""
        return self.suffix.partition("\n")[0]

    @property
    def indentation(self) -> str:
        """The white space that begins the cursor's line."""
        line = self.line_before
        return line[: len(line) - len(line.lstrip())]
