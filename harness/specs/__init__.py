"""The nouns, frozen: what is unlearned, by which method, and how that is measured."""
