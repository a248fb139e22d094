"""Small made-up models, LoRAs and prompts for `lorchestra demo`, the tests and the benchmarks."""
