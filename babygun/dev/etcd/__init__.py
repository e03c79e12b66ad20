"""The embedded etcd: found, or built once per machine, and the command lines of its members."""
