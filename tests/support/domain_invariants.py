"""What always holds of sending domains and their sealed keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from babygun.email.sending_domains import (
    ALGORITHMS,
    MOST_CLIENTS,
    SendingDomain,
    sending_domain_name,
)
from babygun.etcd import KeyValue
from babygun.store import Store, codec
from babygun.store.records import SealedKey


@dataclass
class Domains:
    """``sealed``: by domain and selector."""

    domains: dict[str, SendingDomain] = field(default_factory=dict)
    sealed: dict[tuple[str, str], SealedKey] = field(default_factory=dict)

    def take(self, store: Store, kv: KeyValue) -> None:
        if kv.key.startswith(store.keys.domains):
            name = store.keys.last_part(kv.key)
            self.domains[name] = codec.decode_state(kv.value, SendingDomain)
        elif kv.key.startswith(store.keys.dkim_keys):
            place = store.keys.parse_dkim_key(kv.key)
            self.sealed[place] = codec.decode_state(kv.value, SealedKey)


def check_domains(seen: Domains) -> None:
    """Each selector has its key, and each key its selector. At most one of a kind signs."""
    selectors = {
        (domain.name, one.name) for domain in seen.domains.values() for one in domain.selectors
    }
    assert selectors == seen.sealed.keys()
    for name, domain in seen.domains.items():
        assert name == domain.name == sending_domain_name(name)
        assert 1 <= len(set(domain.clients)) == len(domain.clients) <= MOST_CLIENTS, domain
        for algorithm in ALGORITHMS:
            states = [one.state for one in domain.selectors if one.algorithm == algorithm]
            assert states.count("new") <= 1 and states.count("signing") <= 1, domain
        for one in domain.selectors:
            assert (one.signing_since is None) == (one.state == "new"), one
            assert (one.old_since is None) == (one.state != "old"), one
