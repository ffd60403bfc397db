// Says when there is no connection, and has the service worker ready for that.

import { say, says, unsay } from "./notices.js";

function tell() {
  if (navigator.onLine) {
    unsay("offline");
    unsay("poll");
  } else {
    say("offline", says.saysOffline);
  }
}

window.addEventListener("online", tell);
window.addEventListener("offline", tell);
tell();

// Without one (plain HTTP, private windows) pages fail as they do on any site.
navigator.serviceWorker?.register(says.worker).catch(() => {});
