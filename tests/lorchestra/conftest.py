"""Lets the tests import the helpers beside this file: `exact`, `lora_files` and `unet_table`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:
    sys.path.append(HERE)
