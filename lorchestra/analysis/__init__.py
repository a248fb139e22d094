"""What each LoRA of a stack does: how strong it is, where, and against which other one."""
