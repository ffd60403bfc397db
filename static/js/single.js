// Single mode: an image goes up as soon as it is chosen, dropped or pasted, and the form then sends
// its id. The cost follows the settings. Without this script the form sends the file itself.

import { priceOf } from "./site/price.js";
import { send } from "./site/sending.js";
import { showViewers } from "./viewer/viewer.js";

const form = document.getElementById("single");
const says = form.dataset;
const figures = new Intl.NumberFormat(document.documentElement.lang);
const plurals = new Intl.PluralRules(document.documentElement.lang);
const at = (id) => document.getElementById(id);
const fill = (text, values) =>
  text.replace(/\{(\w+)\}/g, (_, name) => figures.format(values[name]));
const write = (place, text) => {
  if (place && place.textContent !== text) place.textContent = text;
};

const stage = at("drop"); // only where it is empty: an image's own page has none
const url = at("url");
let arriving = null;
let percent = 0;

// The figures, the button and the words beside it. They come and go with the polls, so they are
// looked up each time.
function tell() {
  const price = priceOf(form);
  const word = plurals.select(price) === "one" ? says.saysCredit : says.saysCredits;
  for (const place of form.querySelectorAll("[data-cost]")) write(place, fill(word, { n: price }));
  const left = Number(says.available);
  const short = at("short");
  if (short) {
    short.hidden = left >= price;
    if (!short.hidden) write(short, fill(says.saysShort, { n: price, left }));
  }

  const upload = form.elements.upload?.value;
  const ready = !stage || upload || url.value.trim();
  const uploading = percent < 100 ? fill(says.saysUploading, { n: percent }) : says.saysChecking;
  const text = arriving ? uploading : ready ? says.saysReady : says.saysEmpty;
  write(at("start-status"), text);
  if (!stage && arriving) write(at("trouble"), text);
  const start = at("start");
  if (start) start.disabled = Boolean(arriving) || !ready || says.works === "no";
  if (stage) {
    at("upload-bar").toggleAttribute("hidden", !arriving);
    at("upload-bar").firstElementChild.setAttribute("width", percent);
  }
}

function show(name, picture) {
  stage.dataset.full = "";
  at("chosen").hidden = false;
  at("chosen-name").textContent = at("chosen-name").title = name;
  at("preview").src = picture;
}

function empty() {
  arriving?.cancel();
  arriving = null;
  if (!stage) return;
  const preview = at("preview");
  if (preview.src.startsWith("blob:")) URL.revokeObjectURL(preview.src);
  preview.removeAttribute("src");
  form.elements.upload.value = "";
  delete form.elements.upload.dataset.width;
  delete form.elements.upload.dataset.height;
  at("file").value = ""; // it goes up on its own, not with the form
  delete stage.dataset.full;
  at("chosen").hidden = true;
}

function refuse(file, message) {
  empty();
  write(at("trouble"), `${file.name}: ${message}`);
  at("file")?.focus();
  tell();
}

async function choose(file) {
  empty();
  write(at("trouble"), "");
  if (file.size > Number(says.maxBytes)) {
    const megabytes = Math.ceil((10 * file.size) / 2 ** 20) / 10;
    return refuse(file, fill(says.saysLarge, { n: megabytes }));
  }
  if (stage) {
    url.value = "";
    show(file.name, URL.createObjectURL(file));
  }
  percent = 0;
  arriving = send(file, {
    to: says.uploadUrl,
    token: form.elements.csrfmiddlewaretoken.value,
    said: { lost: says.saysLost, expired: says.saysExpired },
    onProgress: (now) => {
      percent = now;
      tell();
    },
  });
  tell();
  const mine = arriving;
  const answer = await mine.done;
  if (arriving !== mine) return; // another image was chosen, or none
  arriving = null;
  if (answer.message) return refuse(file, answer.message);
  if (!stage) return leaveFor(answer.upload);
  form.elements.upload.value = answer.upload;
  form.elements.upload.dataset.width = answer.width;
  form.elements.upload.dataset.height = answer.height;
  // The browser can't show every kind of file; it can show our thumbnail.
  if (!at("preview").naturalWidth) at("preview").src = answer.thumbnail;
  tell();
  at("start")?.focus({ preventScroll: true });
}

// From one image's page to the empty stage, with the new image and the settings that are set.
function leaveFor(upload) {
  const query = new URLSearchParams({ upload });
  for (const [name, value] of new FormData(form)) {
    if (!["csrfmiddlewaretoken", "again", "url"].includes(name)) query.append(name, value);
  }
  window.location = `${says.here}?${query}`;
}

if (says.uploadUrl) {
  let depth = 0; // drags enter each element on their way and leave it again
  const over = (by) => {
    depth = Math.max(0, depth + by);
    if (stage) stage.toggleAttribute("data-over", depth > 0);
  };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    const [file] = event.dataTransfer.files;
    if (file) choose(file);
  });

  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    const typing = event.target.closest?.("input, textarea");
    const text = event.clipboardData.getData("text/plain").trim();
    if (file) {
      event.preventDefault();
      choose(file);
    } else if (url && !typing && /^https?:\/\/\S+$/.test(text)) {
      event.preventDefault();
      empty();
      url.value = text;
      url.focus();
      tell();
    }
  });

  at("file")?.addEventListener(
    "change",
    ({ target }) => target.files[0] && choose(target.files[0]),
  );
  at("clear")?.addEventListener("click", () => {
    empty();
    tell();
    at("file").focus();
  });
  url?.addEventListener("input", () => {
    if (stage && url.value) empty();
  });
  const upload = form.elements.upload;
  if (upload?.value) show(upload.dataset.name, upload.dataset.thumbnail);

  form.addEventListener("input", tell);
  document.addEventListener("htmx:afterSettle", tell);
  window.addEventListener("pageshow", tell);
  tell();
} else {
  // A stranger's file could not be kept: it is not worth sending.
  form.addEventListener("submit", () => {
    if (at("file")) at("file").disabled = true;
  });
}

showViewers();
document.addEventListener("htmx:load", (event) => showViewers(event.target));

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  write(button.querySelector("span"), button.dataset.saysCopied);
});
