"""Tests of several processes together, with real etcd and SMTP."""
