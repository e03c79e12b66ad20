"""Switches a webhook off whose endpoint only fails, or says that it is gone."""

from __future__ import annotations

from babygun.errors import EtcdError
from babygun.runtime import metrics
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.webhooks.change import disable_webhook
from babygun.store.webhooks.records import Webhook

log = get_logger("webhooks")


async def disable(
    store: Store, client_id: str, seen: Webhook, token: int, why: str, reason: str
) -> None:
    """Where etcd does not answer, the next failure does it.

    ``seen``: the webhook that this was decided by. ``token``: of its owner. ``why``: as metrics
    name it; ``reason``: for the client.
    """
    try:
        off = await disable_webhook(store, client_id, seen, token, reason)
    except EtcdError as error:
        log.warning("webhook not disabled", webhook_id=seen.id, error=str(error))
        return
    if off is not None:
        metrics.WEBHOOKS_DISABLED[why].inc()
        log.warning("webhook disabled", webhook_id=seen.id, client_id=client_id, reason=reason)
