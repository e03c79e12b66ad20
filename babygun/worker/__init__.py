"""The worker role: claims ready jobs and delivers them by SMTP. Start with :mod:`babygun.worker.worker`."""

from babygun.worker.worker import Worker, serve

__all__ = ["Worker", "serve"]
