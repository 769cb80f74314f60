"""Nouns: what is stored, what it is called, in which unit."""
