"""The live stream, GET /events: what changes, sent to everybody who listens.

    etcd ─▶ ChangeFeed ─every 100 ms─▶ Hub ─latest state of each e-mail─▶ Listener ─▶ one answer
                                        └─ ring of recent events, for listeners that come back

    event      an e-mail's state as an event of the stream
    listener   what one listener has not got yet: bounded, the latest state of each e-mail
    hub        one in each process; runs as long as somebody listens
    overview   the overview, once a second for all who want it
    stream     the call GET /events

etcd is authoritative: nothing here is kept beyond the process. A listener that can't get every
change gets the event ``reset``: it must load its lists again.
"""
