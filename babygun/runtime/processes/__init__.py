"""The one supervisor of processes, and the two ways in which it starts one.

A program is started by its command line (:mod:`.programs`), a copy of this process by a fork
(:mod:`.forks`). ``babygun dev`` runs programs, ``--processes`` runs copies (:mod:`.copies`).
"""
