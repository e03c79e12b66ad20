"""Everything on one machine, for development and tests: an embedded etcd, a catch-all mailbox, and the supervisor of both."""
