#!/usr/bin/env python3
"""Writes the man page and the shells' completions from the commands themselves.

python scripts/generate_command_docs.py            writes them
python scripts/generate_command_docs.py --check    ends with 1 where a file differs from the commands
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from codekin.cli.app import app

FOLDER = Path(__file__).parents[1] / "server/codekin/cli/shell"


@dataclass(frozen=True)
class CommandHelp:
    """A command as its help shows it: its words, what it does, its arguments and options."""

    words: tuple[str, ...]
    summary: str
    text: str
    arguments: tuple[tuple[str, str], ...]
    options: tuple[tuple[tuple[str, ...], str, str], ...]
    subcommands: tuple[str, ...]


def read_commands() -> list[CommandHelp]:
    """The program and all its commands, in the order of the overview."""
    main = typer.main.get_command(app)
    return list(_walk(main, ("codekin",), main.make_context("codekin", [], resilient_parsing=True)))


def _walk(command: Any, words: tuple[str, ...], context: Any) -> Iterator[CommandHelp]:
    names = tuple(command.list_commands(context)) if hasattr(command, "list_commands") else ()
    text = " ".join((command.help or "").split())
    options = tuple(
        ((*one.opts, *one.secondary_opts), _metavar(one), " ".join((one.help or "").split()))
        for one in command.params
        if one.param_type_name == "option" and not getattr(one, "hidden", False)
    )
    arguments = tuple(
        (str(one.metavar or one.name).upper(), " ".join((getattr(one, "help", "") or "").split()))
        for one in command.params
        if one.param_type_name == "argument"
    )
    yield CommandHelp(words, text.split(". ")[0].rstrip("."), text, arguments, options, names)
    for name in names:
        found = command.get_command(context, name)
        if found is not None:
            yield from _walk(found, (*words, name), found.make_context(name, [], resilient_parsing=True))


def _metavar(option: Any) -> str:
    return "" if option.is_flag else str(option.metavar or "VALUE")


def man_page(commands: list[CommandHelp]) -> str:
    """The manual in roff."""
    parts = [
        '.TH CODEKIN 1 "" "Codekin" "Codekin Manual"',
        ".SH NAME",
        "codekin \\- finds similar code by meaning, completes, and is fine\\-tuned on a codebase",
        ".SH SYNOPSIS",
        ".B codekin\n.I COMMAND\n.RI [ OPTIONS ]",
        ".SH DESCRIPTION",
        _roff(commands[0].text),
        ".SH COMMANDS",
    ]
    for one in commands[1:]:
        synopsis = " ".join([*one.words[1:], *(name for name, _ in one.arguments)])
        parts += [f".SS {_roff(synopsis)}", _roff(one.text)]
        for name, about in one.arguments:
            parts += [".TP", f".I {_roff(name)}", _roff(about) or "."] if about else []
        for names, metavar, about in one.options:
            parts += [".TP", f".B {_roff(', '.join(names))} {_roff(metavar)}".rstrip(), _roff(about) or "\\&"]
    parts += [
        ".SH EXIT STATUS",
        "0 found or done, 1 nothing found, 2 wrong use or failure, 130 interrupted.",
        ".SH FILES",
    ]
    parts += [".I settings.toml", "in the configuration folder; `codekin doctor` shows it."]
    return "\n".join(parts) + "\n"


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _candidates(one: CommandHelp) -> list[str]:
    return [*one.subcommands, *(name for names, _, _ in one.options for name in names), "--help"]


def bash_completion(commands: list[CommandHelp]) -> str:
    """The words that may follow, for bash."""
    cases = "\n".join(f'    "{" ".join(one.words[1:])}") words="{" ".join(_candidates(one))}" ;;' for one in commands)
    return f"""# bash completion for codekin; written by scripts/generate_command_docs.py
_codekin() {{
  local words="" command="" at
  local known="{_command_words(commands)}"
  for ((at = 1; at < COMP_CWORD; at++)); do
    [[ "$known" == *"|${{command:+$command }}${{COMP_WORDS[at]}}|"* ]] || continue
    command="${{command:+$command }}${{COMP_WORDS[at]}}"
  done
  case "$command" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _codekin codekin
"""


def _command_words(commands: list[CommandHelp]) -> str:
    return "|" + "|".join(" ".join(one.words[1:]) for one in commands[1:]) + "|"


def zsh_completion(commands: list[CommandHelp]) -> str:
    """The same for zsh, by way of its own emulation of bash."""
    return f"""#compdef codekin
# zsh completion for codekin; written by scripts/generate_command_docs.py
autoload -U +X bashcompinit && bashcompinit
{bash_completion(commands)}"""


def fish_completion(commands: list[CommandHelp]) -> str:
    """The same for fish, with what each command and option does."""
    lines = ["# fish completion for codekin; written by scripts/generate_command_docs.py"]
    for one in commands:
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in one.words[1:])
        condition = f"-n '{seen}'" if seen else "-n __fish_use_subcommand"
        summaries: Mapping[str, str] = {two.words[-1]: two.summary for two in commands if two.words[:-1] == one.words}
        lines += [
            f"complete -c codekin {condition} -a {name} -d {_quoted(summaries.get(name, ''))}"
            for name in one.subcommands
        ]
        for names, _, about in one.options:
            long = [f"-l {name[2:]}" for name in names if name.startswith("--")]
            short = [f"-s {name[1:]}" for name in names if not name.startswith("--")]
            lines.append(f"complete -c codekin {condition} {' '.join(short + long)} -d {_quoted(about)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = list(stale_files())
    for path, text in stale:
        print(f"{path.relative_to(FOLDER.parents[3])} {'differs from the commands' if options.check else 'written'}")
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return int(options.check and bool(stale))


def stale_files() -> Iterator[tuple[Path, str]]:
    """Each file that is not as the commands are, with the text that it should have."""
    commands = read_commands()
    wanted = {
        "codekin.1": man_page(commands),
        "codekin.bash": bash_completion(commands),
        "codekin.zsh": zsh_completion(commands),
        "codekin.fish": fish_completion(commands),
    }
    for name, text in wanted.items():
        path = FOLDER / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            yield path, text


if __name__ == "__main__":
    sys.exit(main())
