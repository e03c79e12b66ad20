"""Sends an e-mail once, and waits for what becomes of it: python3 send.py ann@example.org"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

API = os.environ["BABYGUN_API_URL"]


def call(method, path, body=None, headers=None):
    """The answer as JSON. Without one, and after a 429 or 503, the call is sent again."""
    data = None if body is None else json.dumps(body).encode()
    given = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(API + path, data, given, method=method)
    for _ in range(10):
        pause = 1
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            problem = json.load(error)
            if error.code not in (429, 503):
                sys.exit(f"{problem['type']}: {problem['detail']}")
            pause = int(error.headers["Retry-After"])
        except OSError:
            pass  # no answer: with the same key, sending again is safe
        time.sleep(pause)
    sys.exit("there is no answer")


client = {
    "client_id": os.environ["BABYGUN_CLIENT_ID"],
    "client_secret": os.environ["BABYGUN_CLIENT_SECRET"],
}
token = {"Authorization": "Bearer " + call("POST", "/tokens", client)["token"]}

email = {"sender": "shop@example.com", "to": sys.argv[1], "subject": "Hello", "body": "It works."}
# Your own name for this e-mail, such as its order's number. It is sent once for each key.
key = {"Idempotency-Key": str(uuid.uuid4())}
path = "/emails/" + call("POST", "/emails", email, token | key)["id"]

while (email := call("GET", path + "?wait=30s", None, token))["status"] == "incomplete":
    pass
for recipient in email["recipients"]:
    print(recipient["email"], recipient["status"], recipient["status_reason"])
