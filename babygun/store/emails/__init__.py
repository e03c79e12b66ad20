"""The e-mails in etcd: each transition of their life as one transaction, and reading them.

acceptance, batches       new e-mails
claims                    claim, release, reclaim
finish                    the end of tries
on_request                cancel, retry
schedule                  what waits: making it due, listing it
ready_jobs                the jobs that a worker may claim: counting, reading, following them
writes, write_loop        what a change writes, and how it is written until etcd has decided
reading, listing, depth   single e-mails, pages of them, how many jobs there are
"""
