// The page's service worker: a push is passed on to the page, wherever that is by now.
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', event => event.waitUntil(self.clients.claim()));
self.addEventListener('push', event => event.waitUntil((async () => {
  const told = event.data ? event.data.json() : {};
  for (const page of await self.clients.matchAll({ includeUncontrolled: true })) page.postMessage(told);
})()));
