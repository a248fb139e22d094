"""The words in which a person says how a file is made; known without torch, for the command line."""

from __future__ import annotations

SUM, TIES, DARE, DARE_TIES = "sum", "ties", "dare", "dare-ties"
METHODS = (SUM, TIES, DARE, DARE_TIES)
"""How updates of one weight become one; see `methods.py`."""

DEFAULT_DENSITY = 0.5
"""Share of the numbers of each update that TIES and DARE keep."""

DEFAULT_RANK = 32
"""Of an extracted LoRA."""

FP16, BF16, FP32 = "fp16", "bf16", "fp32"
DTYPES = (FP16, BF16, FP32)
"""What a new file may be written in."""
