"""What etcd knows, and the only way to change it: each transition is one transaction (docs/design.md).

:class:`Store` holds what all of it needs: client, batcher, keys, leases. The verbs are functions in the modules:

    emails/       the transitions of an e-mail, and reading it
    changes       waiting for the next thing that happens to an email
    clients       API clients, token signing keys, revoked tokens
    retention     the leases that ended emails hang on
    fullness      how full etcd is and will be; shedding and compaction make room
    health        whether a process can do its work: with rights and permissions (etcd's users), cluster (whose prefix it is) and peers
"""

from babygun.store.store import Store

__all__ = ["Store"]
