"""Tests of babygun/etcd."""
