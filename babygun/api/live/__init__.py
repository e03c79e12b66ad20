"""The live stream, GET /events: what changes, told to everybody who listens.

    etcd ──two watches──▶ Mirror ──every 100 ms──▶ Hub ──latest state of each e-mail──▶ Listener ──▶ one HTTP answer
                                                    └─ ring of what was told, for those who come back

    position   where a stream is: which revisions it has told of; an event's id
    mirror     records that changed and who is sending what, followed by two watches
    catch_up   what a listener who comes from elsewhere has missed, by watches of its own
    hub        one of each process, running as long as somebody listens
    listener   what one listener still has to be told: bounded, the latest state of each e-mail
    glance     the overview, once a second for all who want it
    stream     the HTTP of it

etcd is authoritative: nothing here is kept beyond the process, and whoever can't be told everything is told to begin anew (``reset``).
"""
