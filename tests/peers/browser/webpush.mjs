// webpush.mjs JSON: a Web Push service and the keys of a browser behind it, by npm's web-push and http_ece. JSON: {host, port,
// certificate, key, ca: trusted when it sends itself}. Orders: subscribe(with keys?); send(subscription, text, vapid); tell(status).
import crypto from 'node:crypto';
import fs from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import ece from 'http_ece';
import webpush from 'web-push';
import { obey, say, verified } from './service.mjs';

const options = JSON.parse(process.argv[2]);
const place = `https://${options.host}:${options.port}`;
const subscriptions = new Map();
let status = 201;

// RFC 8292 sections 2 and 3: what is wrong with the credentials, and who sent them.
async function sender(value) {
  const [, token, shown] = /^vapid t=([^,]+), ?k=(.+)$/.exec(value) || [];
  const point = Buffer.from(shown, 'base64url');
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map(half => half.toString('base64url'));
  const key = crypto.createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });
  const { claims } = await verified(crypto, token, key);
  const left = claims.exp - Date.now() / 1000;
  if (claims.aud !== place || left < 0 || left > 86400 || !/^(mailto|https):/.test(claims.sub)) throw new Error('wrong claims');
  return shown;
}

const server = http2.createSecureServer({
  cert: fs.readFileSync(options.certificate), key: fs.readFileSync(options.key), allowHTTP1: true,
}, (request, response) => {
  const pieces = [];
  request.on('data', piece => pieces.push(piece));
  request.on('end', async () => {
    const { headers } = request, body = Buffer.concat(pieces), known = subscriptions.get(request.url);
    let told = status, wrong = '', text = null, from = '';
    if (!known) told = 410;
    else try {
      from = await sender(headers.authorization);
      if (!/^\d+$/.test(headers.ttl || '')) throw new Error('no TTL');
      if (headers.topic && !/^[A-Za-z0-9_-]{1,32}$/.test(headers.topic)) throw new Error('a wrong Topic');
      if (body.length) {
        if (headers['content-encoding'] !== 'aes128gcm') throw new Error('a wrong encoding');
        text = String(ece.decrypt(body, { version: 'aes128gcm', privateKey: known.keys, authSecret: known.secret.toString('base64url') }));
      }
    } catch (error) { told = 400; wrong = String(error); }
    say('push', { status: told, wrong, from, text, size: body.length, ttl: headers.ttl, urgency: headers.urgency,
      topic: headers.topic || '', http: request.httpVersion });
    response.writeHead(told, { location: `${place}/message/1` });
    response.end(wrong);
  });
});

await obey({
  listen: () => server.listen(options.port, options.host, () => say('listening')),
  subscribe(withKeys) {
    const keys = crypto.createECDH('prime256v1'), secret = crypto.randomBytes(16);
    keys.generateKeys();
    const path = `/push/${crypto.randomBytes(12).toString('base64url')}`;
    subscriptions.set(path, { keys, secret });
    const shown = { p256dh: keys.getPublicKey('base64url'), auth: secret.toString('base64url') };
    say('subscribed', { address: place + path, fragment: withKeys ? `#p256dh=${shown.p256dh}&auth=${shown.auth}` : '' });
  },
  tell(next) { status = next; },
  async send(subscription, text, vapid) {
    const agent = new https.Agent({ ca: fs.readFileSync(options.ca) });
    const result = await webpush.sendNotification(subscription, text, { vapidDetails: vapid, TTL: 30, agent, urgency: 'high' })
      .catch(error => ({ statusCode: error.statusCode || 0, text: String(error) }));
    say('sent', { status: result.statusCode, text: result.text || '' });
  },
});
