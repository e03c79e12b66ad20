"""Links to unsubscribe: the keys that they are made under, and what one of them does."""
