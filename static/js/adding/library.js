// Pictures of the library on the page of a new batch. Those that are ticked come a few at a time,
// so that no request takes long.

import { worded } from "../library/words.js";
import { ask } from "./asking.js";

const FEW = 20;

let last = null;

const boxes = () => [...document.querySelectorAll("#picker input[name=asset]")];
const chosen = () => boxes().filter((box) => box.checked);

function show() {
  const button = document.getElementById("pick-add");
  if (!button) return;
  worded(button, chosen().length);
  button.disabled = !chosen().length;
}

/** Call `take(images)` with what the server has of them; `failed(error)` where it has not. */
export function pickFrom({ take, failed }) {
  document.addEventListener("click", (event) => {
    const box = event.target;
    if (box.name === "asset" && box.closest("#picker")) {
      if (event.shiftKey && last?.isConnected) {
        const all = boxes();
        const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
        for (const other of all.slice(from, to + 1)) other.checked = box.checked;
      }
      last = box;
      show();
    }
  });
  document.addEventListener("submit", async (event) => {
    if (event.target.id !== "picking" || event.submitter?.id !== "pick-add") return;
    event.preventDefault();
    const button = event.submitter;
    const status = document.getElementById("pick-status");
    button.disabled = true;
    status.textContent = "";
    try {
      for (let few = chosen().slice(0, FEW); few.length; few = chosen().slice(0, FEW)) {
        const body = new FormData();
        for (const box of few) body.append("asset", box.value);
        const { status: code, told } = await ask(event.target.action, body);
        for (const box of few) box.checked = false;
        show();
        button.disabled = true;
        if (told?.message) status.textContent = told.message;
        if (told?.images) take(told.images);
        else if (code !== 422) throw new Error(told?.message || "");
      }
    } catch (error) {
      failed(error);
    }
    show();
  });
  document.addEventListener("htmx:afterSettle", show);
  show();
}
