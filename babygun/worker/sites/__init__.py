"""What a worker may send to each site now: slots, pace, limits that adapt, holds."""
