// What the batch costs, what is in the way, and the one primary button.

import { priceOf } from "../site/price.js";
import { ask } from "./asking.js";
import { figure, form, put, say } from "./words.js";

// Reading a form is slow, and this is asked with every frame while files go up.
let unit = priceOf(form);
for (const [where, kind] of [
  [form, "input"],
  [window, "pageshow"],
]) {
  where.addEventListener(kind, () => {
    unit = priceOf(form);
  });
}

const byId = (id) => document.getElementById(id);

/** What all of it costs: rows of a sheet may have settings, and so prices, of their own. */
function costOf(images, sheet) {
  if (sheet?.credits == null) return images * unit;
  const unseen = sheet.usable - sheet.judged; // the server looks at the first ones only
  return (images - sheet.usable + unseen) * unit + sheet.credits;
}

// Images that were done before with the same settings: the server knows, and is asked when either
// has changed. Until it answers nothing is taken for free.
let free = 0;
let askedFor = "";
let timer = 0;

function askWhatIsFree(uploads, told) {
  const typed = new FormData(form);
  for (const name of ["files", "urls", "folders", "csrfmiddlewaretoken"]) typed.delete(name);
  typed.set("uploads", uploads.join(" "));
  const question = new URLSearchParams([...typed].filter(([, value]) => typeof value === "string"));
  if (question.toString() === askedFor) return;
  askedFor = question.toString();
  free = 0;
  clearTimeout(timer);
  if (!uploads.length || typed.has("anew")) return;
  const mine = askedFor;
  timer = setTimeout(async () => {
    try {
      const { told: answer } = await ask(form.dataset.quote, typed);
      if (mine !== askedFor || !answer?.free) return;
      free = answer.free;
      told();
    } catch {
      // It is only said beforehand: what was done before costs nothing all the same.
    }
  }, 300);
}

/**
 * Show cost and buttons for `images` that can be started.
 * `why`: what is in the way, for people; nothing when it can start. `wrong`: lines that can't be
 * used; they cost nothing, but they come along and take a place. `sheet`: that of the page.
 * `uploads`: ids of those that are files here; `told()` is called when it is known which of them
 * cost nothing.
 */
export function showCost(images, why, { wrong, sheet, starting, uploads, told }) {
  const { limit, available } = form.dataset;
  const isGuest = available === undefined;
  if (!isGuest) askWhatIsFree(uploads, told);
  const full = costOf(images, sheet);
  const cost = Math.max(full - free * unit, 0);
  const each = images > free ? cost / (images - free) : unit;
  const affordable = isGuest || !each ? images : Math.floor(Number(available) / each) + free;
  const isOver = images + wrong > Number(limit);
  const now = Math.min(images, Number(limit), affordable);
  const isShort = images > 0 && affordable < Math.min(images, Number(limit));

  byId("costs").hidden = false;
  put(
    byId("cost").firstElementChild,
    full === images * unit
      ? `${say("images", { n: images })} × ${say("credits", { n: unit })}`
      : say("images", { n: images }),
  );
  put(byId("cost").lastElementChild, figure(cost));
  byId("free").hidden = !free;
  put(byId("free").firstElementChild, free ? say("free", { n: free }) : "");
  if (!isGuest) {
    const left = Number(available) - cost;
    put(byId("after").lastElementChild, figure(left));
    byId("after").lastElementChild.classList.toggle("text-error-ink", left < 0);
    put(byId("short"), isShort ? say("short", { need: cost, have: Number(available) }) : "");
    byId("short").hidden = !isShort;
  }

  const start = byId("start");
  if (!start) return;
  // A part of the images: as many as the credits do, or as one batch takes. The rest stays here.
  const isPart = now < images || isOver;
  const part = Math.ceil(Math.max(now - free, 0) * each);
  const figures = { n: now, credits: say("credits", { n: now < images ? part : cost }) };
  put(
    start,
    now === 0
      ? say("start")
      : isPart
        ? say("startFirst", figures)
        : say("startAll", { images: say("images", { n: now }), credits: figures.credits }),
  );
  start.name = isPart && now ? "take" : "";
  start.value = isPart && now ? now : "";
  const reason = why || (isShort && now === 0 ? say("shortOfAll") : "");
  put(byId("start-why"), reason);
  const sample = byId("start-sample");
  sample.classList.toggle("invisible", images <= Number(sample.value) || isPart);
  for (const button of [start, sample]) button.disabled = Boolean(reason) || starting;
}
