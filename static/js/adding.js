// The page of a new batch. Files go up as soon as they are chosen, addresses are looked at as soon
// as they are pasted; the form then sends ids. Without this script it sends the files themselves.

import { Addresses } from "./adding/addresses.js";
import { ask, SignedOut, token } from "./adding/asking.js";
import { Grid } from "./adding/cards.js";
import { listen } from "./adding/choosing.js";
import { showCost } from "./adding/cost.js";
import { pickFrom } from "./adding/library.js";
import { saving } from "./adding/saving.js";
import { chooseSheet, isSheet, listenToSheet, sheetOnPage } from "./adding/sheet.js";
import { shrink } from "./adding/shrinking.js";
import { takeSlot } from "./adding/slots.js";
import { Uploads } from "./adding/uploads.js";
import { form, put, say } from "./adding/words.js";

const byId = (id) => document.getElementById(id);
const at = form.dataset;
const isGuest = !at.owner;
const files = byId("files");
const limit = Number(at.limit);

let starting = false;
let skipped = 0; // files of folders that are no images
let toReplace = null; // the card for which a file is being chosen
let samplesFailed = "";

const grid = new Grid(byId("uploads"), byId("upload-template"), {
  changed: tell,
  removed(picture) {
    if (picture.kind === "url") return addresses.forget(picture);
    uploads.forget(picture);
    forgetThere(picture);
  },
  acted(picture, what) {
    if (what === "again") uploads.again(picture);
    else if (what === "shrink") shrinkIt(picture);
    else if (what === "choose") {
      toReplace = picture;
      files.click();
    }
  },
  emptied: () => files.focus(),
});

const uploads = new Uploads(
  grid,
  {
    tus: at.tus,
    known: at.known,
    tool: at.tool,
    owner: at.owner ?? "",
    maxBytes: Number(at.maxBytes),
  },
  () => grid.touch(),
);

const addresses = new Addresses(
  byId("urls"),
  byId("address-notes"),
  grid,
  { judge: at.addresses, probe: at.probe, isGuest },
  (error) => {
    if (error instanceof SignedOut) signedOut();
    tell();
  },
);

const keeper = saving(at.draft);

function signedOut() {
  uploads.halt("signedOut");
}

/** The image leaves the draft too, which another page would show. */
async function forgetThere({ upload, refused }) {
  if (!upload && !refused) return;
  const body = new FormData();
  if (upload) body.append("image", upload);
  if (refused) body.append("refused", refused);
  try {
    await ask(at.remove, body, { keepalive: true }); // also where the page is left at once
  } catch (error) {
    if (error instanceof SignedOut) signedOut();
  }
}

async function shrinkIt(picture) {
  grid.update(picture, { can: null, message: say("shrinking") });
  const smaller = await shrink(picture.file, Number(at.maxBytes));
  if (!smaller) return grid.update(picture, { message: say("cantShrink") });
  forgetThere({ refused: picture.refused });
  uploads.replace(picture, smaller);
}

function take(dropped, left) {
  const [sheet] = isGuest ? [] : dropped.filter(isSheet);
  const chosen = sheet ? dropped.filter((file) => !isSheet(file)) : dropped;
  if (sheet) {
    go("sheet");
    chooseSheet(sheet);
  }
  skipped = left;
  samplesFailed = "";
  if (toReplace && chosen.length === 1) uploads.replace(toReplace, chosen[0]);
  else if (chosen.length) uploads.add(chosen);
  toReplace = null;
  tell();
}

/** Cards for images that the server has already. */
function show(images) {
  grid.add(
    images
      .filter(({ upload }) => !grid.holding(upload))
      .map((image) => ({ key: image.upload, kind: "file", state: "ready", ...image })),
  );
}

async function addSamples() {
  const button = byId("samples");
  button.disabled = true;
  samplesFailed = "";
  try {
    const { told } = await ask(at.samples, new FormData());
    if (!told?.images) throw new Error(told?.message || "");
    show(told.images);
    grid.list.firstElementChild?.focus();
  } catch (error) {
    if (error instanceof SignedOut) signedOut();
    else samplesFailed = error.message || say("lostWhy");
  }
  button.disabled = false;
  tell();
}

/** Where files lay below what was chosen: results get the same folders. */
function keepFolders() {
  const field = form.elements.folders;
  let known = {};
  try {
    known = JSON.parse(field.value || "{}");
  } catch {
    // Then nothing is known.
  }
  const folders = {};
  for (const { upload, folder } of grid.all) {
    const place = folder ?? known[upload];
    if (upload && place) folders[upload] = place;
  }
  const text = Object.keys(folders).length ? JSON.stringify(folders) : "";
  if (text === field.value) return;
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

// --- What the page says -----------------------------------------------------------------

/** Images that were chosen in connected accounts. */
function connected() {
  const picks = [...form.querySelectorAll("input[name=connected]")];
  return picks.reduce((sum, pick) => sum + Number(pick.dataset.count), 0);
}

function counts() {
  const all = grid.all;
  const of = (...states) => all.filter(({ state }) => states.includes(state)).length;
  return {
    // An address with a problem can be started: it may be mended by then.
    usable:
      connected() +
      all.filter(({ kind, state }) => state === "ready" || (kind === "url" && state === "problem"))
        .length,
    files: all.filter(({ upload }) => upload).length,
    refused: of("refused", "problem"),
    lost: of("lost"),
    ghosts: of("ghost"),
  };
}

/** What keeps the batch from starting, and nothing when it can. */
function inTheWay({ usable, lost, ghosts }, sheet) {
  const onTheWay = uploads.onTheWay;
  if (onTheWay) {
    const total = uploads.sent + onTheWay;
    const halted = uploads.halted;
    if (halted === "signedOut") return say("whySignedOut");
    return say("sending", { done: uploads.sent, total });
  }
  if (ghosts) return say("whyGhosts", { n: ghosts });
  if (lost) return say("whyLost", { n: lost });
  const checking = addresses.checking;
  if (checking.open) return say("checkingSome", checking);
  if (addresses.isUnread) return say("checkingText");
  if (sheet?.isReading) return say("readingSheet");
  if (sheet?.isUnusable) return say("sheetUnusable");
  if (sheet?.isUndecided) return say("sheetUndecided", { n: sheet.wrong });
  if (!usable && !sheet?.usable) return say("empty");
  return "";
}

function tell() {
  const found = counts();
  const sheet = sheetOnPage();
  const why = inTheWay(found, sheet);
  const { usable, refused, ghosts, lost } = found;
  const { onTheWay, halted } = uploads;
  const checking = addresses.checking.open;

  const words = [];
  if (onTheWay) words.push(say("sending", { done: uploads.sent, total: uploads.sent + onTheWay }));
  else if (checking) words.push(say("checkingSome", addresses.checking));
  else if (usable) words.push(say("allReady", { n: usable }));
  if (sheet?.usable) words.push(say("sheetRows", { n: sheet.usable }));
  const problems = refused + ghosts + lost + addresses.wrong;
  if (!onTheWay && problems) words.push(say("problems", { n: problems }));
  const joined = uploads.joined + addresses.joined;
  if (!onTheWay && joined) words.push(say("joined", { n: joined }));
  if (skipped) words.push(say("skipped", { n: skipped }));
  if (samplesFailed) words.push(samplesFailed);
  put(byId("upload-status"), words.join(" · "));

  // Halted: why, and what to do about it.
  const isLost = halted === "offline" || (!halted && uploads.isTrying && onTheWay);
  byId("signed-out").hidden = isGuest ? !onTheWay : halted !== "signedOut";
  byId("offline").hidden = !isLost;
  byId("ghosts").hidden = !ghosts;
  byId("pausing").hidden = !onTheWay || halted === "signedOut";
  const isPaused = halted === "paused";
  byId("pause").hidden = isPaused;
  byId("resume").hidden = !isPaused;

  const images = usable + onTheWay + checking + (sheet?.usable ?? 0);
  const wrong = addresses.wrong + (sheet?.wrong ?? 0);
  const all = images + wrong;
  byId("over").hidden = all <= limit;
  if (all > limit) put(byId("over").lastElementChild, say("over", { n: all - limit, all, limit }));
  byId("start-unchecked")?.toggleAttribute("hidden", !checking || Boolean(onTheWay));
  if (!isGuest) byId("samples").hidden = grid.all.length > 0 || byId("urls").value.trim() !== "";
  form.toggleAttribute("data-filled", grid.all.length > 0 || connected() > 0);

  const ids = grid.all.map(({ upload }) => upload).filter(Boolean);
  showCost(images, why, { wrong, sheet, starting, uploads: ids, told: tell });
  keepFolders();
}

// --- Beginnings -------------------------------------------------------------------------

function choose(way) {
  for (const panel of form.querySelectorAll("[data-way]")) panel.hidden = panel.dataset.way !== way;
}

function go(way) {
  form.querySelector(`input[name=way][value=${way}]`).checked = true;
  choose(way);
}

form.dataset.live = "";
for (const radio of form.querySelectorAll("input[name=way]")) {
  radio.addEventListener("change", () => choose(radio.value));
}
const hasUrls = byId("urls").value.trim() !== "";
const hasFiles = grid.all.some(({ kind }) => kind === "file");
const isLooking = new URLSearchParams(location.search).has("at");
/** What there is already says which way is shown first. */
function firstWay() {
  if (isLooking) return "connected";
  if (hasFiles) return "upload";
  if (sheetOnPage() || location.hash === "#sheet") return "sheet";
  if (hasUrls) return "urls";
  return connected() ? "connected" : "upload";
}
go(firstWay());
if (hasUrls) addresses.judge();

form.addEventListener("input", tell);
document.addEventListener("htmx:afterSettle", tell);
listenToSheet(tell);
byId("placeholders").addEventListener("click", (event) => {
  const { placeholder } = event.target.closest("button")?.dataset ?? {};
  if (!placeholder) return;
  const field = byId("name-pattern");
  field.setRangeText(placeholder, field.selectionStart, field.selectionEnd, "end");
  field.focus();
  field.dispatchEvent(new Event("input", { bubbles: true }));
});
files.addEventListener("cancel", () => {
  toReplace = null;
});
byId("pause").addEventListener("click", () => {
  uploads.halt("paused");
  tell();
  byId("resume").focus();
});
byId("resume").addEventListener("click", () => {
  uploads.goOn("paused");
  tell();
  byId("pause").focus();
});
if (!isGuest) {
  pickFrom({
    take(images) {
      show(images);
      tell();
    },
    failed(error) {
      if (error instanceof SignedOut) signedOut();
      else byId("pick-status").textContent = error.message || say("lostWhy");
    },
  });
  byId("samples").addEventListener("click", addSamples);
  byId("start-unchecked")?.addEventListener("click", () => {
    addresses.skip();
    tell();
    byId("start").focus();
  });
}

// Signed in again, in another tab: go on.
document.addEventListener("visibilitychange", async () => {
  if (document.visibilityState !== "visible" || isGuest || uploads.halted !== "signedOut") return;
  await keeper.save();
  try {
    await ask(at.known, { tool: at.tool, files: [] });
  } catch {
    return;
  }
  uploads.goOn("signedOut");
  addresses.goOn();
});

// Once is enough. The buttons are switched off only after the browser has read which was pressed.
form.addEventListener("submit", (event) => {
  if (starting) return event.preventDefault();
  starting = true;
  form.elements.csrfmiddlewaretoken.value = token();
  form.elements.uploads.value = grid.all.map(({ upload }) => upload || "").join(" ");
  form.elements.refused.value = grid.all
    .filter(({ upload, refused: token_ }) => !upload && token_)
    .map(({ refused: token_ }) => token_)
    .join(" ");
  keeper.stop();
  setTimeout(tell);
});
// A page that comes back by the Back button works again.
window.addEventListener("pageshow", () => {
  starting = false;
  tell();
});

// No file is taken before the unsent ones of an earlier page are here: they would be lost.
takeSlot(`adding-${at.tool}`)
  .then((slot) => uploads.begin(slot))
  .then(() => {
    listen({ inputs: [files, byId("folder")], area: document.body, zone: byId("drop"), take });
    form.dataset.ready = "";
    if (files.files.length) files.dispatchEvent(new Event("change")); // chosen meanwhile
    tell();
  });
