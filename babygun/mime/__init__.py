"""An e-mail as bytes: what goes over the wire between DATA and the final dot. Pure.

message   the whole of it: header, body, boundaries
headers   single header fields, folded and encoded
dkim      signatures
parts     body parts: texts, attachments, multiparts
"""

from babygun.mime.message import (
    feedback_id,
    heeds_tls_policies,
    message_id,
    needs_smtputf8,
    render,
    with_unsubscribe_link,
)

__all__ = [
    "feedback_id",
    "heeds_tls_policies",
    "message_id",
    "needs_smtputf8",
    "render",
    "with_unsubscribe_link",
]
