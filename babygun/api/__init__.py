"""The HTTP API: accepts e-mails, tells what became of them. Stateless; any number of processes, behind any load balancer.

Its modules, from the process to the parts:

    app               runs it until a signal; application puts it together, context is what the handlers share
    routes            the one table of calls, from which the router and the OpenAPI document (openapi, examples) are made
    edge              around every call: request id, access log, errors as problems (problems, violations)
    auth              tokens and scopes; tokens: the calls that issue, tell of and revoke them
    ratelimit, space  when e-mails are refused: the client's rate is used up, etcd is nearly full
    submission        the body of POST /emails (body, headers), read into the model
    emails            the calls on e-mails; documents: what they answer (answer: how the busiest call's goes out)
    operations        workers and probes
    scrape            metrics; cluster: what of them is read from etcd
    pages             the web page, plain files under page/
"""
