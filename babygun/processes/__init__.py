"""Several processes of one kind under one supervisor. Start with :mod:`babygun.processes.supervisor`."""

from babygun.processes.backoff import Backoff, describe_status
from babygun.processes.member import Member
from babygun.processes.supervisor import Supervisor

__all__ = ["Backoff", "Member", "Supervisor", "describe_status"]
