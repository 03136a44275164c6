// What the stand-ins for push services share: orders come as lines {"do": name, "with": [arguments]} on standard input, a
// line {"event": name, …} on standard output tells what happened.
import readline from 'node:readline';

export const say = (event, detail = {}) => console.log(JSON.stringify({ event, ...detail }));

export async function obey(orders) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    try { await orders[order.do](...order.with); } catch (error) { say('error', { text: String(error.stack || error) }); }
  }
  process.exit(0);
}

// A JWT signed with ES256 (RFC 7515): its header and claims, or an error.
export async function verified(crypto, token, key) {
  const [head, claims, signature] = token.split('.');
  const options = { key, dsaEncoding: 'ieee-p1363' };
  if (!crypto.verify('sha256', Buffer.from(`${head}.${claims}`), options, Buffer.from(signature, 'base64url')))
    throw new Error('the signature is wrong');
  const read = part => JSON.parse(Buffer.from(part, 'base64url'));
  if (read(head).alg !== 'ES256') throw new Error('not ES256');
  return { head: read(head), claims: read(claims) };
}
