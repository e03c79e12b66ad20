"""API clients and their tokens, and the rights of etcd's own users."""
