"""The DNS records of sending domains: which are wanted, and what DNS has of them."""
