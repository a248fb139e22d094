"""One base model: its layers, where they are, and which architecture it is."""
