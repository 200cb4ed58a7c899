"""The tests of the library use the tiny models and the sample application of other rooms."""

import sys
from pathlib import Path

for room in ("models", "finetune"):
    sys.path.insert(0, str(Path(__file__).parents[1] / room))
