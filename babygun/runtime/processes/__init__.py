"""Several processes of one kind under one supervisor. Start with :mod:`babygun.runtime.processes.supervisor`."""

from babygun.runtime.processes.backoff import Backoff, describe_status
from babygun.runtime.processes.member import Member
from babygun.runtime.processes.supervisor import Supervisor

__all__ = ["Backoff", "Member", "Supervisor", "describe_status"]
