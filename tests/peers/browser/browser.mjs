// browser.mjs JSON: headless Chromium with page.js, its page served on 127.0.0.1 at the port given.
// JSON: {chromium: path, port, script: in place of page.js}; worker.js is its service worker. A line {"do": name, "with": [arguments]} on standard input calls window.phone[name]; a line
// {"event": name, …} on standard output tells what happened.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import esbuild from 'esbuild';
import { chromium } from 'playwright-core';

const options = JSON.parse(process.argv[2]);
const here = path.dirname(fileURLToPath(import.meta.url));
const say = event => console.log(JSON.stringify(event));

const bundle = await esbuild.build({
  entryPoints: [path.join(here, options.script)], bundle: true, write: false, format: 'iife', platform: 'browser',
  logLevel: 'error', define: { global: 'window' },
});
const scripts = { '/page.js': bundle.outputFiles[0].text, '/worker.js': fs.readFileSync(path.join(here, 'worker.js')) };
const server = http.createServer((request, response) => {
  const script = scripts[request.url];
  response.setHeader('content-type', script ? 'text/javascript' : 'text/html');
  response.end(script || '<!doctype html><meta charset=utf-8><script src=page.js></script>');
});
await new Promise(listens => server.listen(options.port, '127.0.0.1', listens));

const browser = await chromium.launch({
  executablePath: options.chromium,
  args: ['--no-sandbox', '--disable-gpu', '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream',
    '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns',
    '--autoplay-policy=no-user-gesture-required'],
});
// The certificate is of an authority that Chromium does not know, and cannot be told of without its certificate store.
const context = await browser.newContext({ ignoreHTTPSErrors: true, permissions: ['microphone', 'camera', 'notifications'] });
const page = await context.newPage();
page.on('console', line => { if (line.text().startsWith('EVENT ')) say(JSON.parse(line.text().slice(6))); });
page.on('pageerror', error => say({ event: 'pageerror', text: String(error) }));
const origin = `http://127.0.0.1:${options.port}`;
await page.goto(`${origin}/`);

// What is not the page's business: the page starts anew, and a push reaches its service worker as from the push service.
const workers = await context.newCDPSession(page);
let registration = null;
workers.on('ServiceWorker.workerRegistrationUpdated', told => {
  registration = told.registrations.find(each => !each.isDeleted && each.scopeURL.startsWith(origin)) || registration;
});
await workers.send('ServiceWorker.enable');
const beside = {
  reload: () => page.reload(),
  deliver: data => workers.send('ServiceWorker.deliverPushMessage', { origin, registrationId: registration.registrationId, data }),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.do in beside) {
    await beside[order.do](...order.with).catch(error => say({ event: 'pageerror', text: String(error) }));
    continue;
  }
  page.evaluate(([name, given]) => window.phone[name](...given), [order.do, order.with])
    .catch(error => say({ event: 'pageerror', text: String(error) }));
}
await browser.close();
process.exit(0);
