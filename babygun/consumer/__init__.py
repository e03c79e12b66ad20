"""What all share who consume keys of a slice: who is there, whose part it is, pauses, side tasks.

The workers' mail and the notices of webhooks are consumed by two rooms above this one.
"""
