"""Tests of babygun/dev/etcd."""
