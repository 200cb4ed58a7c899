#!/bin/bash
# Starts a training run at the lowest priority of the machine, or takes it up where it was last saved.
#
#     training/background.sh FOLDER MINUTES [options of train.py]
#
# FOLDER holds groups/ and generated/ (mine_groups.py, parallel/generate.py) and base.safetensors, and gets run/ with the checkpoints and
# a log. It runs on one thread, only while nobody else wants the processor; MINUTES are the processor's, not the clock's.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1 minutes=$2
shift 2
mkdir -p "$folder/run"
export PYTHONPATH=server OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
exec setsid nice -n 19 chrt --idle 0 bash -c '
  echo 19 >/proc/self/autogroup 2>/dev/null || true
  exec "${PYTHON:-.venv/bin/python}" training/train.py "$@"' train \
  --groups "$folder/groups" --parallel training/parallel/written "$folder/generated" --base "$folder/base.safetensors" \
  --tokenizer server/codekin/models/codekin_embed/tokenizer.json --out "$folder/run" --minutes "$minutes" \
  --size 40 --longest 112 --rate 6e-5 "$@" >>"$folder/run/log" 2>&1
