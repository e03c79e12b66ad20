"""All that etcd has of one recipient: found, erased, exported."""
