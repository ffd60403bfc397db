// A request of htmx that fails must not leave the page silent. What somebody pressed stays said
// until the next step works; a page that asks by itself goes on asking, and takes its words back
// as soon as it gets an answer. The element is the one that asked: by the time of the answer it may
// have been replaced, and then htmx tells the event of another one.

import { say, says, unsay } from "./notices.js";

const asksByItself = (element) => /\b(every|load)\b/.test(element.getAttribute("hx-trigger") || "");
const nameOf = (element) => (asksByItself(element) ? "poll" : "step");

function wordsFor(xhr) {
  const { status } = xhr;
  if (status === 403) return says.saysForbidden;
  if (status === 404) return says.saysGone;
  if (status === 429) {
    const seconds = Number(xhr.getResponseHeader("Retry-After")) || 60;
    const figure = new Intl.NumberFormat(document.documentElement.lang).format(seconds);
    return says.saysOften.replace("{n}", figure);
  }
  return says.saysFailed;
}

document.addEventListener("htmx:responseError", ({ detail: { requestConfig, xhr } }) => {
  const { elt } = requestConfig;
  const { status } = xhr;
  if (asksByItself(elt) && status >= 500) say("poll", says.saysTrying);
  else say(nameOf(elt), wordsFor(xhr), { again: status === 403 || status === 404 });
});

for (const lost of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(lost, ({ detail }) => {
    const { elt } = detail.requestConfig;
    if (asksByItself(elt)) {
      if (navigator.onLine) say("poll", says.saysTrying);
    } else {
      say("step", says.saysLost);
    }
  });
}

document.addEventListener("htmx:afterRequest", ({ detail: { requestConfig, successful } }) => {
  if (successful) unsay(nameOf(requestConfig.elt));
});
