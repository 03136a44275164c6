// apns.mjs JSON: Apple's push service on Node's own HTTP/2. JSON: {host, port, certificate, key, signer: public key of the
// provider token, team, topic, streams: how many at once, goaway: the request of each connection after which it ends}.
// A device whose token ends in a three-digit status 4xx or 5xx gets that status.
import crypto from 'node:crypto';
import fs from 'node:fs';
import http2 from 'node:http2';
import { obey, say, verified } from './service.mjs';

const options = JSON.parse(process.argv[2]);
const signer = crypto.createPublicKey(fs.readFileSync(options.signer));
const REASONS = { 400: 'BadDeviceToken', 403: 'InvalidProviderToken', 410: 'Unregistered', 429: 'TooManyRequests', 500: 'InternalServerError' };
const server = http2.createSecureServer({
  cert: fs.readFileSync(options.certificate), key: fs.readFileSync(options.key),
  settings: { maxConcurrentStreams: options.streams },
});
let connections = 0;

async function refusal(headers, body) {
  const { head, claims } = await verified(crypto, headers.authorization.replace(/^bearer /i, ''), signer);
  if (claims.iss !== options.team || !head.kid || Math.abs(Date.now() / 1000 - claims.iat) > 3600) return 'a wrong provider token';
  if (headers[':method'] !== 'POST' || !/^\/3\/device\/[0-9a-f]+$/.test(headers[':path'])) return 'a wrong request';
  if (headers['apns-topic'] !== options.topic) return 'a wrong topic';
  if (Number(headers['content-length']) !== body.length) return 'a wrong length';
  JSON.parse(body);
  return '';
}

server.on('session', session => {
  session.number = ++connections;
  session.seen = session.busy = 0;
  session.on('error', error => say('broken', { text: String(error) }));
  session.on('ping', () => say('ping', { connection: session.number }));
});
server.on('stream', (stream, headers) => {
  const session = stream.session, pieces = [];
  const busy = ++session.busy;
  stream.on('close', () => session.busy--);
  stream.on('error', () => {});
  stream.on('data', piece => pieces.push(piece));
  stream.on('end', async () => {
    const body = Buffer.concat(pieces);
    const wrong = await refusal(headers, body).catch(String);
    const asked = Number(headers[':path'].slice(-3));
    const status = wrong ? 400 : asked >= 400 && asked < 600 ? asked : 200;
    say('push', { connection: session.number, busy, status, wrong, id: headers['apns-id'], path: headers[':path'],
      kind: headers['apns-push-type'], priority: headers['apns-priority'], body: String(body) });
    const answer = { ':status': status, 'apns-id': headers['apns-id'] };
    if (status === 200) stream.respond(answer, { endStream: true });
    else {
      stream.respond({ ...answer, 'content-type': 'application/json' });
      stream.end(JSON.stringify({ reason: wrong || REASONS[status], ...(status === 410 ? { timestamp: Date.now() } : {}) }));
    }
    if (++session.seen === options.goaway) session.goaway(0, stream.id, Buffer.from('{"reason":"Shutdown"}'));
  });
});
server.listen(options.port, options.host, () => say('ready'));
await obey({});
