"""The HTTP API. A process keeps no state that another one needs, so any number can run.

Each call is declared where it is handled (:mod:`babygun.api.http.routes`); :mod:`babygun.api.app`
puts the calls and their services together and serves them.
"""
