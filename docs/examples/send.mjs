// Sends an e-mail once, and waits for what becomes of it: node send.mjs ann@example.org

const { BABYGUN_API_URL: api, BABYGUN_CLIENT_ID, BABYGUN_CLIENT_SECRET } = process.env;

// The answer as JSON. Without one, and after a 429 or 503, the call is sent again.
async function call(method, path, body, headers) {
  for (let n = 0; n < 10; n++) {
    let pause = 1;
    try {
      const answer = await fetch(api + path, {
        method,
        body: body && JSON.stringify(body),
        headers: { "Content-Type": "application/json", ...headers },
      });
      const document = await answer.json();
      if (answer.ok) return document;
      if (answer.status !== 429 && answer.status !== 503) {
        console.error(`${document.type}: ${document.detail}`);
        process.exit(1);
      }
      pause = Number(answer.headers.get("Retry-After"));
    } catch {
      // no answer: with the same key, sending again is safe
    }
    await new Promise((done) => setTimeout(done, pause * 1000));
  }
  throw new Error("there is no answer");
}

const client = { client_id: BABYGUN_CLIENT_ID, client_secret: BABYGUN_CLIENT_SECRET };
const token = { Authorization: `Bearer ${(await call("POST", "/tokens", client)).token}` };

const wanted = { sender: "shop@example.com", to: process.argv[2], subject: "Hello", body: "Hi" };
// Your own name for this e-mail, such as its order's number. It is sent once for each key.
const key = { "Idempotency-Key": crypto.randomUUID() };
const { id } = await call("POST", "/emails", wanted, { ...token, ...key });

let email;
do email = await call("GET", `/emails/${id}?wait=30s`, undefined, token);
while (email.status === "incomplete");
for (const { email: address, status, status_reason } of email.recipients)
  console.log(address, status, status_reason);
