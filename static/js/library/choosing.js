// What is ticked in the grid: with Shift a whole stretch, all at once, none with Escape. Buttons that
// need something to be ticked say so by being off.

import { worded } from "./words.js";

let last = null;

const form = () => document.getElementById("chosen");
const boxes = () => [...(form()?.querySelectorAll("input[name=asset]") ?? [])];

/** Let the bar say what is ticked. */
export function showChoice() {
  if (!form()) return;
  const all = boxes();
  const chosen = all.filter((box) => box.checked).length;
  const whole = form().querySelector("#all");
  whole.closest("[data-scripted]").hidden = false;
  whole.checked = chosen === all.length;
  whole.indeterminate = chosen > 0 && chosen < all.length;
  worded(form().querySelector("#count"), chosen);
  for (const button of form().querySelectorAll("[data-needs]")) button.disabled = !chosen;
}

function clicked(event) {
  const box = event.target;
  if (box.id === "all") {
    for (const other of boxes()) other.checked = box.checked;
    return showChoice();
  }
  if (box.name !== "asset" || !form()?.contains(box)) return;
  const all = boxes();
  if (event.shiftKey && last?.isConnected) {
    const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
    for (const other of all.slice(from, to + 1)) other.checked = box.checked;
  }
  last = box;
  showChoice();
}

export function watchChoice() {
  document.addEventListener("click", clicked);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("details[data-menu][open]")) return;
    if (!form()?.contains(event.target)) return;
    for (const box of boxes()) box.checked = false;
    showChoice();
  });
  document.addEventListener("htmx:afterSettle", showChoice);
  window.addEventListener("pageshow", showChoice); // browsers remember what was ticked
  showChoice();
}
