"""What is known about base models: how their layers are called, natively and by other tools."""
