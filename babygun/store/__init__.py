"""What etcd knows, and the only way to change it: each transition is one transaction.

:class:`Store` holds what all of it needs: client, batcher, keys, leases.
"""

from babygun.store.store import Store

__all__ = ["Store"]
