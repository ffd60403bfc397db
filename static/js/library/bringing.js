// Files that are chosen or dropped: they go up one after the other, into the folder that is open.

import { listen } from "../adding/choosing.js";
import { showChoice } from "./choosing.js";

const form = document.getElementById("bring");
const status = document.getElementById("bring-status");

let waiting = [];
let total = 0;
let done = 0;
const problems = [];

const say = (name, values) =>
  form.dataset[name].replace(/\{(\w+)\}/g, (_, place) => String(values[place]));

async function send(file) {
  const body = new FormData();
  body.append("folder", form.elements.folder.value);
  body.append("files", file);
  const headers = { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value };
  const answer = await fetch(form.action, { method: "POST", headers, body });
  if (answer.ok) return;
  const told = await answer.json().catch(() => null);
  problems.push(told?.message || `${file.name}: ${say("saysLost", {})}`);
}

async function sendAll() {
  while (waiting.length) {
    status.textContent = say("saysSending", { done, total });
    try {
      await send(waiting[0]);
    } catch {
      problems.push(say("saysLost", {}));
      waiting = [];
    }
    waiting.shift();
    done += 1;
  }
  if (!problems.length) return location.reload();
  status.textContent = [...new Set(problems)].join(" · ");
  if (done > problems.length) await showNew();
  waiting = [];
  total = done = 0;
  problems.length = 0;
}

/** What came in shows; what did not stays said. */
async function showNew() {
  const old = document.getElementById("shelf");
  if (!old) return;
  const answer = await fetch(location.href);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const shelf = page.getElementById("shelf");
  if (shelf) old.replaceWith(shelf);
  showChoice();
}

export function bring() {
  if (!form) return;
  const input = document.getElementById("bring-files");
  input.hidden = false;
  form.querySelector("label").hidden = false;
  listen({
    inputs: [input],
    area: document.body,
    zone: document.getElementById("drop-here"),
    take(files) {
      const isIdle = !waiting.length;
      waiting.push(...files);
      total += files.length;
      if (isIdle && files.length) sendAll();
    },
  });
}
