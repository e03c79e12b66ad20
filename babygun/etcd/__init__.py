"""A thin asynchronous client of etcd v3. It knows nothing of e-mail, and alone imports gRPC."""

from babygun.etcd.batch import Batcher
from babygun.etcd.client import EtcdClient, Range, Status
from babygun.etcd.diagnosis import explain
from babygun.etcd.follow import follow, keep_following
from babygun.etcd.lease import Lease
from babygun.etcd.plain_http import clock_ahead
from babygun.etcd.txn import (
    NESTED,
    Compare,
    KeyValue,
    Op,
    Txn,
    TxnResult,
    absent,
    all_created_before,
    count_range,
    created_at,
    delete,
    delete_range,
    get,
    get_range,
    keep,
    modified_at,
    modified_before,
    nesting,
    only_if,
    present,
    put,
    range_absent,
    value_between,
)
from babygun.etcd.watch import Event, Watch, WatchBatch

__all__ = [
    "NESTED",
    "Batcher",
    "Compare",
    "EtcdClient",
    "Event",
    "KeyValue",
    "Lease",
    "Op",
    "Range",
    "Status",
    "Txn",
    "TxnResult",
    "Watch",
    "WatchBatch",
    "absent",
    "all_created_before",
    "clock_ahead",
    "count_range",
    "created_at",
    "delete",
    "delete_range",
    "explain",
    "follow",
    "get",
    "get_range",
    "keep",
    "keep_following",
    "modified_at",
    "modified_before",
    "nesting",
    "only_if",
    "present",
    "put",
    "range_absent",
    "value_between",
]
