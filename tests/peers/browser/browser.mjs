// browser.mjs JSON: headless Chromium with page.js, its page served on 127.0.0.1 at the port given.
// JSON: {chromium: path, port}. A line {"do": name, "with": [arguments]} on standard input calls window.phone[name]; a line
// {"event": name, …} on standard output tells what happened.
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
  entryPoints: [path.join(here, 'page.js')], bundle: true, write: false, format: 'iife', platform: 'browser',
  logLevel: 'error', define: { global: 'window' },
});
const script = bundle.outputFiles[0].text;
const server = http.createServer((request, response) => {
  const isScript = request.url === '/page.js';
  response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
  response.end(isScript ? script : '<!doctype html><meta charset=utf-8><script src=page.js></script>');
});
await new Promise(listens => server.listen(options.port, '127.0.0.1', listens));

const browser = await chromium.launch({
  executablePath: options.chromium,
  args: ['--no-sandbox', '--disable-gpu', '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream',
    '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns',
    '--autoplay-policy=no-user-gesture-required'],
});
// The certificate is of an authority that Chromium does not know, and cannot be told of without its certificate store.
const context = await browser.newContext({ ignoreHTTPSErrors: true, permissions: ['microphone', 'camera'] });
const page = await context.newPage();
page.on('console', line => { if (line.text().startsWith('EVENT ')) say(JSON.parse(line.text().slice(6))); });
page.on('pageerror', error => say({ event: 'pageerror', text: String(error) }));
await page.goto(`http://127.0.0.1:${options.port}/`);

for await (const line of readline.createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  page.evaluate(([name, given]) => window.phone[name](...given), [order.do, order.with])
    .catch(error => say({ event: 'pageerror', text: String(error) }));
}
await browser.close();
process.exit(0);
