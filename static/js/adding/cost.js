// What the batch costs, what is in the way, and the one primary button.

import { priceOf } from "../site/price.js";
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

/**
 * Show cost and buttons for `images` that can be started.
 * `why`: what is in the way, for people; nothing when it can start. `wrong`: lines that can't be
 * used; they cost nothing, but they come along and take a place. `sheet`: that of the page.
 */
export function showCost(images, why, { wrong, sheet, starting }) {
  const { limit, available } = form.dataset;
  const isGuest = available === undefined;
  const cost = costOf(images, sheet);
  const each = images ? cost / images : unit;
  const affordable = isGuest || !each ? images : Math.floor(Number(available) / each);
  const isOver = images + wrong > Number(limit);
  const now = Math.min(images, Number(limit), affordable);
  const isShort = images > 0 && affordable < Math.min(images, Number(limit));

  byId("costs").hidden = false;
  put(
    byId("cost").firstElementChild,
    each === unit
      ? `${say("images", { n: images })} × ${say("credits", { n: unit })}`
      : say("images", { n: images }),
  );
  put(byId("cost").lastElementChild, figure(cost));
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
  const figures = {
    n: now,
    credits: say("credits", { n: now < images ? Math.ceil(now * each) : cost }),
  };
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
