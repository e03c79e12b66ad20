"""Which processes and etcd members there are, and whether all is well."""
