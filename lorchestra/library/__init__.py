"""The LoRA files that are there, and what is known of each."""
