"""The calls on what is kept of one recipient: erase it, export it."""
