"""``babygun dev``: an embedded etcd, a mailbox, API and workers on one machine, for development."""
