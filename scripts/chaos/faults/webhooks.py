"""A webhook that is away, answers with errors, says nothing, or breaks the connection."""

from __future__ import annotations

from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.stage import Stage
from scripts.chaos.webhooks import Mode


class WebhookMisbehaves(Fault):
    touches = frozenset({"webhook"})
    seconds = (3.0, 9.0)

    def __init__(self, name: str, sentence: str, mode: Mode) -> None:
        self.name, self.sentence, self._mode = name, sentence, mode

    async def inject(self, stage: Stage, random: Random) -> Broken:
        stage.webhook.mode = self._mode

        async def heal() -> None:
            stage.webhook.normal()

        return Broken(f"the webhook {self._mode}", heal)


class WebhookAway(Fault):
    name = "webhook-away"
    sentence = "The webhook's server refuses connections."
    touches = frozenset({"webhook"})
    seconds = (3.0, 9.0)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        await stage.webhook.stop()
        return Broken("the webhook refuses connections", stage.webhook.start)


WEBHOOKS = (
    WebhookAway(),
    WebhookMisbehaves("webhook-fails", "The webhook answers every event with 503.", "fails"),
    WebhookMisbehaves("webhook-stalls", "The webhook takes events and says nothing.", "stalls"),
    WebhookMisbehaves(
        "webhook-cuts", "The webhook takes events, and breaks the connection.", "cuts"
    ),
)
