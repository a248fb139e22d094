"""Whether LoRAs fit a model, in one word and one sentence, before anything is changed."""
