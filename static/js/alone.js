// What the pages have that stand alone: failures of the site, and the one shown offline.

import "./site/copy.js";

// The page that is shown offline was kept before somebody chose these colours.
const chosen = document.cookie.match(/(?:^|; )theme=(light|dark)/)?.[1];
if (chosen) document.documentElement.dataset.theme = chosen === "dark" ? "studio-dark" : "studio";

if ("offline" in document.body.dataset) {
  window.addEventListener("online", () => window.location.reload());
}
