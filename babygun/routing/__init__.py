"""Where a recipient's mail goes: the queues, and the destination of each."""
