// The service worker: shows a page of ours when a page can't be reached. It keeps that page and
// the few files that it needs, and nothing of anybody's. `self.shell` names them: see /sw.js.

const { page, version, files } = self.shell;
const CACHE = `shell ${version} ${files.join(" ")}`;

self.addEventListener("install", (event) => {
  const keep = async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll([page, ...files].map((url) => new Request(url, { cache: "reload" })));
    await self.skipWaiting();
  };
  event.waitUntil(keep());
});

self.addEventListener("activate", (event) => {
  const takeOver = async () => {
    const old = (await caches.keys()).filter((name) => name !== CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    // Pages need not wait until this worker has started.
    await self.registration.navigationPreload?.enable();
    await self.clients.claim();
  };
  event.waitUntil(takeOver());
});

const kept = async (url) => (await caches.open(CACHE)).match(url);

async function pageOrOffline(event) {
  try {
    return (await event.preloadResponse) || (await fetch(event.request));
  } catch {
    return (await kept(page)) || Response.error();
  }
}

async function fileOrKept(request) {
  try {
    return await fetch(request);
  } catch {
    return (await kept(request.url)) || Response.error();
  }
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.mode === "navigate") {
    event.respondWith(pageOrOffline(event));
  } else if (files.includes(new URL(request.url).pathname)) {
    event.respondWith(fileOrKept(request));
  }
});
