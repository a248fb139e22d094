"""One LoRA file: opened, read, identified."""
