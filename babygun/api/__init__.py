"""The HTTP API: accepts e-mails, tells what became of them. Stateless; any number of processes, behind any load balancer.

app          puts it together; serve runs it until a signal
routes       the one table of calls, from which the router and the OpenAPI document (openapi) are made
edge         around every call: request id, access log, errors as problems (problems)
auth         tokens and scopes; tokens: the calls that issue, tell of and revoke them; ratelimit
submission   the body of POST /emails: what it may hold (with headers), read into the model
emails       the calls on e-mails; documents: what they answer; operations: workers and probes
pages        the web page, plain files under page/
"""
