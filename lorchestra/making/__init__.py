"""LoRA files made from other files: several merged into one, one at another rank, the difference of two models.

Each streams layer by layer, so that memory does not grow with the number of layers, and what is written is checked as
any other file before it takes its name. The same inputs give the same bytes.
"""
