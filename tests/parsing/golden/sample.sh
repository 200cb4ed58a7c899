#!/usr/bin/env bash
set -eu

# Adds an amount.
add() {
  local amount=$1
  if [ "$amount" -le 0 ]; then
    fail "no amount"
  fi
  echo $((balance + amount))
}

function total {
  local sum=0
  while read -r amount; do sum=$((sum + amount)); done
  echo "$sum"
}

main() { add "$@"; }
main "$@"
