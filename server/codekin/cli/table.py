"""Which commands there are and where each lives; a new command is a new row.

`attribute` is a function, which becomes a command, or a typer.Typer, which becomes a group.
A row whose module is not there is left out.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A command's name, its module in this package, what to take from it, and a line for the overview."""

    name: str
    module: str
    attribute: str
    summary: str


ROWS = (
    Row("index", "indexing", "index", "Bring a workspace's index up to date."),
    Row("similar", "finding", "similar", "Find code like that at PATH:LINE."),
    Row("search", "finding", "search", "Find code by words, or by what it does."),
    Row("duplicates", "finding", "duplicates", "List near-duplicates."),
    Row("complete", "completing", "complete", "Complete the code at PATH:LINE:COL."),
    Row("status", "status", "status", "Show how a workspace is doing."),
    Row("dashboard", "dashboard", "dashboard", "Show the map of the code and what was learned, in a browser."),
    Row("doctor", "doctor", "doctor", "Find out why Codekin is silent."),
    Row("daemon", "daemon", "group", "Start, stop or look at the shared process."),
    Row("lsp", "editors", "lsp", "Serve an editor over standard input and output."),
    Row("embed", "embedding", "embed", "Embed a workspace anew, files, or a text."),
    Row("similarity", "models", "similarity", "Compare two texts."),
    Row("generate", "models", "generate", "Continue a prompt with the local model."),
    Row("models", "models", "group", "List, pull and choose models."),
    Row("learn", "learning", "learn", "Learn this workspace now."),
    Row("triplets", "learning", "triplets", "Write the triplets that learning would use."),
    Row("history", "learning", "history", "Show what was learned, and how well."),
    Row("rollback", "learning", "rollback", "Go back to an earlier checkpoint."),
    Row("schedule", "nights", "group", "Install a timer for nights without an editor."),
    Row("eval", "evaluating", "group", "Measure retrieval and completion on labelled data."),
)
