"""Limits and holds of sites that all workers share: slots, lowered limits, holds."""
