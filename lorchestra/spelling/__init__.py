"""How trainers write the names of tensors: `slots` (the end of a name), `prefixes` (its start), `modules` (both)."""
