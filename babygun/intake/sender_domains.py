"""The rule of the setting ``require_domains``: a client sends from domains that it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from babygun.email.domains import ascii_domain
from babygun.email.sending_domains import name_and_parents
from babygun.errors import EtcdUnavailable
from babygun.intake.broken_rules import BrokenRules
from babygun.store import Store

SenderRule = Callable[[str, BrokenRules], None]
"""Takes the bare address of a sender, and reports it if it may not send."""

# Domains that one call reads from etcd, since they are not known here: made just now, perhaps.
_MOST_READ = 64


class SenderDomains:
    """Where no domain is required, every sender may send, and nothing is looked up."""

    def __init__(self, store: Store) -> None:
        self.required, self._domains = store.settings.require_domains, store.domains

    def rule(self, client_id: str) -> SenderRule | None:
        """For the e-mails of a client, named by its identity; None: every sender may send."""
        if not self.required:
            return None

        def check(sender: str, broken: BrokenRules) -> None:
            domain = _domain_of(sender)
            if self._domains.covering(client_id, domain) is None:
                broken.report(
                    "sender",
                    f"This client holds no sending domain for {domain}. Make one with"
                    " POST /domains, or ask an operator to give it to this client.",
                )

        return check

    async def look_up(self, senders: Iterable[str], client_id: str) -> None:
        """Reads from etcd what the rule needs to know of these senders and does not know yet.

        Another process may have made a domain this moment. Raises EtcdUnavailable.
        """
        domains = {_domain_of(sender) for sender in senders}
        missing = [one for one in domains if not self._domains.covering(client_id, one)]
        if not missing:
            return
        names = list(dict.fromkeys(name for one in missing for name in name_and_parents(one)))
        if len(names) > _MOST_READ and not self._domains.ready.is_set():
            raise EtcdUnavailable("the sending domains are not read yet")
        await self._domains.read(names[:_MOST_READ])


def _domain_of(sender: str) -> str:
    return ascii_domain(sender.rpartition("@")[2])
