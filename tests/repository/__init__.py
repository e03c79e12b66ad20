"""Tests of the repository itself: layout, documents, packaging, deployment."""
