"""What changes in the store, as it changes: for live streams and for calls that wait.

position        which revisions a listener has seen
feed            the changes of all e-mails, followed by two watches
recent_records  the records that changed last
history         the changes since a position, read from etcd's history
next_change     the next change of one e-mail
"""
