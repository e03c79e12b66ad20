"""The worker: claims ready jobs and delivers them. Begin with :mod:`babygun.worker.worker`."""

from babygun.worker.process import serve
from babygun.worker.worker import Worker

__all__ = ["Worker", "serve"]
