"""Tests of babygun/dev/mailbox."""
