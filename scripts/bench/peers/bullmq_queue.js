// Puts e-mails into a BullMQ queue: node bullmq_queue.js REDIS_PORT
//
// Each line of the standard input is an order, {"first", "count", "size", "rate", "times"}; its
// answer is one line, {"start", "end", "refused", "cpu"}: see scripts/bench/systems/producer.py.
// At most WINDOW calls run at once.
'use strict';

const fs = require('node:fs');
const readline = require('node:readline');
const { Queue } = require('bullmq');

const WINDOW = 100;
const LINE = 'The quick brown fox jumps over the lazy dog, and then it does so once more.\n';
const queue = new Queue('mail', {
  connection: { host: '127.0.0.1', port: Number(process.argv[2]) },
  defaultJobOptions: {
    attempts: 3,
    backoff: { type: 'fixed', delay: 600_000 },
    removeOnComplete: true,
  },
});
const now = () => process.hrtime.bigint(); // CLOCK_MONOTONIC

async function produce({ first, count, size, rate, times }) {
  const text = LINE.repeat(Math.ceil(size / LINE.length));
  const taken = new BigInt64Array(2 * count);
  const start = now();
  let next = 0;
  let refused = 0;
  const one = async () => {
    while (next < count) {
      const i = next++;
      if (rate) {
        const due = start + BigInt(Math.round((i / rate) * 1e9));
        for (let left; (left = Number(due - now()) / 1e6) > 0; )
          await new Promise((resolve) => setTimeout(resolve, left));
      }
      taken[2 * i] = now();
      try {
        const number = first + i;
        const mail = { to: `b${number}@example.net`, subject: `message ${number}`, text };
        await queue.add('send', { from: 'sender@example.com', ...mail });
      } catch (error) {
        if (!refused++) console.error(error);
      }
      taken[2 * i + 1] = now();
    }
  };
  await Promise.all(Array.from({ length: WINDOW }, one));
  const end = now();
  if (times) fs.writeFileSync(times, taken);
  return { start: Number(start) / 1e9, end: Number(end) / 1e9, refused, cpu: 0 };
}

async function main() {
  await queue.waitUntilReady();
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin }))
    console.log(JSON.stringify(await produce(JSON.parse(line))));
  await queue.close();
}

main();
