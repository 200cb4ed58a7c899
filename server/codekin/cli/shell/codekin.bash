# bash completion for codekin; written by scripts/generate_command_docs.py
_codekin() {
  local words="" command="" at
  local known="|index|similar|search|duplicates|check|complete|status|dashboard|doctor|daemon|daemon start|daemon status|daemon stop|lsp|server|server migrate|server add|server remove|server worker|server status|server plan|server token|server token add|server token list|server token revoke|mcp|mcp install|mcp instructions|embed|similarity|generate|models|models list|models show|models pull|models remove|models reload|models recommend|models plan|finetune|triplets|history|rollback|schedule|schedule install|schedule uninstall|schedule status|schedule run|eval|eval completion|eval retrieval|eval beam|"
  for ((at = 1; at < COMP_CWORD; at++)); do
    [[ "$known" == *"|${command:+$command }${COMP_WORDS[at]}|"* ]] || continue
    command="${command:+$command }${COMP_WORDS[at]}"
  done
  case "$command" in
    "") words="index similar search duplicates check complete status dashboard doctor daemon lsp server mcp embed similarity generate models finetune triplets history rollback schedule eval --version --completion --help" ;;
    "index") words="--rebuild --json --data-dir --help" ;;
    "similar") words="--limit -n --min-score --language --kind --path --snippet-language --history --since --root --no-wait --json --data-dir --help" ;;
    "search") words="--grep --limit -n --min-score --language --kind --path --history --since --root --no-wait --snippet --no-snippet --json --data-dir --help" ;;
    "duplicates") words="--limit -n --min-score --language --kind --path --json --data-dir --help" ;;
    "check") words="--diff --format --min-score --baseline --write-baseline --data-dir --help" ;;
    "complete") words="--alternatives --model --stream --root --json --data-dir --help" ;;
    "status") words="--files --json --data-dir --help" ;;
    "dashboard") words="--no-open --json --data-dir --help" ;;
    "doctor") words="--json --data-dir --help" ;;
    "daemon") words="start status stop --help" ;;
    "daemon start") words="--json --data-dir --help" ;;
    "daemon status") words="--json --data-dir --help" ;;
    "daemon stop") words="--json --data-dir --help" ;;
    "lsp") words="--data-dir --help" ;;
    "server") words="migrate add remove worker status plan token --database --host --port --certificate --key --data-dir --help" ;;
    "server migrate") words="--database --help" ;;
    "server add") words="--branch --name --database --help" ;;
    "server remove") words="--database --help" ;;
    "server worker") words="--database --poll --once --data-dir --help" ;;
    "server status") words="--json --database --help" ;;
    "server plan") words="--lines --model --json --help" ;;
    "server token") words="add list revoke --help" ;;
    "server token add") words="--repository --days --database --help" ;;
    "server token list") words="--json --database --help" ;;
    "server token revoke") words="--database --help" ;;
    "mcp") words="install instructions --root --index --http --data-dir --help" ;;
    "mcp install") words="--print --undo --yes --project --data-dir --help" ;;
    "mcp instructions") words="--help" ;;
    "embed") words="--model --device --verbose --json --data-dir --help" ;;
    "similarity") words="--model --device --json --data-dir --help" ;;
    "generate") words="--model --suffix --max-tokens --temperature --top-p --top-k --repetition-penalty --seed --stop --regex --grammar --chat --stream --json --data-dir --help" ;;
    "models") words="list show pull remove reload recommend plan --help" ;;
    "models list") words="--json --data-dir --help" ;;
    "models show") words="--json --data-dir --help" ;;
    "models pull") words="--json --data-dir --help" ;;
    "models remove") words="--json --data-dir --help" ;;
    "models reload") words="--json --data-dir --help" ;;
    "models recommend") words="--json --data-dir --help" ;;
    "models plan") words="--memory --dtype --context --json --data-dir --help" ;;
    "finetune") words="--dry-run --background --method --epochs --count --learning-rate --batch-size --beam-ratio --cross-language-ratio --device --triplets --show --questions --json --data-dir --help" ;;
    "triplets") words="--count --beam-ratio --cross-language-ratio --output -o --json --data-dir --help" ;;
    "history") words="--csv --json --data-dir --help" ;;
    "rollback") words="--root --json --data-dir --help" ;;
    "schedule") words="install uninstall status run --help" ;;
    "schedule install") words="--start --no-start --json --data-dir --help" ;;
    "schedule uninstall") words="--json --data-dir --help" ;;
    "schedule status") words="--json --data-dir --help" ;;
    "schedule run") words="--json --data-dir --help" ;;
    "eval") words="completion retrieval beam --help" ;;
    "eval completion") words="--data --repository --model --limit --threshold --json --data-dir --help" ;;
    "eval retrieval") words="--data --model --mode --json --data-dir --help" ;;
    "eval beam") words="--data --model --mode --json --data-dir --help" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _codekin codekin
