"""What DNS says, remembered for as long as it says so."""

from babygun.dns.answers import Answer, DnsError, Kind, LookupFailed, NoSuchName
from babygun.dns.resolver import Resolver

__all__ = ["Answer", "DnsError", "Kind", "LookupFailed", "NoSuchName", "Resolver"]
