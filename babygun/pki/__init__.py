"""Certificates: made by authorities of our own, and checked before they are used."""
