// The library: what is ticked and what can be done with it, files that are dropped, an address that
// follows the search, and keys on an image's page. All of it works without this, in more steps.

import { bring } from "./library/bringing.js";
import { watchChoice } from "./library/choosing.js";
import { showViewers } from "./viewer/viewer.js";

watchChoice();
bring();
showViewers();

// On a desk the folders are always open; on a phone they are a menu.
const side = document.querySelector("[data-side]");
if (side) {
  const wide = matchMedia("(min-width: 64rem)");
  const show = () => {
    side.open = wide.matches;
  };
  wide.addEventListener("change", show);
  show();
}

document.addEventListener("htmx:afterSwap", (event) => {
  const { pathInfo, target } = event.detail;
  if (target?.id !== "shelf" || !pathInfo) return;
  // A reload, a bookmark or the way back shows the same again.
  const url = new URL(pathInfo.responsePath ?? pathInfo.finalRequestPath, location.href);
  for (const [name, value] of [...url.searchParams]) {
    if (!value) url.searchParams.delete(name);
  }
  history.replaceState(null, "", url);
});

const isTyping = (target) =>
  target.closest("input, select, textarea, img-comparison-slider, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const rtl = document.documentElement.dir === "rtl";
  const where = {
    ArrowRight: rtl ? "previous" : "next",
    ArrowLeft: rtl ? "next" : "previous",
    j: "next",
    k: "previous",
  }[event.key];
  const link = where && document.querySelector(`[data-go="${where}"]`);
  if (!link) return;
  event.preventDefault();
  link.click();
});
