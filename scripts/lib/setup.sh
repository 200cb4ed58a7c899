# Sourced by the other scripts: makes .venv once and again whenever the requirements change.
# Needs Python 3.11 or newer and the package registry, nothing else.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2

find_python() {
  local name
  for name in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
    [ -n "$name" ] && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$name"; return; }
  done
  echo "Codekin needs Python 3.11 or newer: install it, or name it with PYTHON=/path/to/python." >&2
  return 2
}

# install EXTRA: brings .venv up to date with pyproject.toml and constraints.txt ("[models]" or "[dev]").
install() {
  local stamp=".venv/.installed$1" wanted python
  wanted=$(cat pyproject.toml constraints.txt | cksum)
  [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  python=$(find_python) || return 2
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  echo "Installing Codekin into .venv …" >&2
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".$1" \
    2> >(grep -v "is ignored: it is neither" >&2) || return 2
  echo "$wanted" > "$stamp"
}
