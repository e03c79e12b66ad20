"""Warm-ups: since when sources send, and how much of each day is used."""
