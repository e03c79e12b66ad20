// Delivers the e-mails of a BullMQ queue with nodemailer's pool:
// node bullmq_worker.js REDIS_PORT RELAY_PORT
'use strict';

const nodemailer = require('nodemailer');
const { Worker } = require('bullmq');

const CONNECTIONS = 20; // to the relay, as Babygun's worker and Postfix have
const CONCURRENCY = 100; // jobs at once; those that wait in nodemailer's pool keep it busy
const transport = nodemailer.createTransport({
  pool: true,
  host: '127.0.0.1',
  port: Number(process.argv[3]),
  ignoreTLS: true,
  maxConnections: CONNECTIONS,
  maxMessages: Infinity,
});
const worker = new Worker('mail', (job) => transport.sendMail(job.data), {
  connection: { host: '127.0.0.1', port: Number(process.argv[2]) },
  concurrency: CONCURRENCY,
});
worker.on('error', (error) => console.error(error));
worker.on('failed', (job, error) => console.error(job && job.id, error));
worker.waitUntilReady().then(() => console.log('ready'));
process.on('SIGTERM', async () => {
  await worker.close();
  process.exit(0);
});
