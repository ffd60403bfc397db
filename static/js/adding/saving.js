// What is typed is kept by the server: with its owner, or in the session until somebody signs in.

import { ask } from "./asking.js";
import { form } from "./words.js";

const QUIET = 600; // milliseconds without a key

/** Keep what is typed from now on. Gives `{save, stop}`. */
export function saving(url) {
  let timer = 0;

  async function save({ keepalive = false } = {}) {
    clearTimeout(timer);
    timer = 0;
    const typed = new FormData(form);
    typed.delete("files");
    try {
      await ask(url, typed, { keepalive });
    } catch {
      // The form itself brings it, and the next key tries again.
    }
  }

  form.addEventListener("input", (event) => {
    if (event.target.type === "file") return;
    clearTimeout(timer);
    timer = setTimeout(save, QUIET);
  });
  window.addEventListener("pagehide", () => {
    if (timer) save({ keepalive: true });
  });
  return {
    save,
    /** The form itself brings it to the server now. */
    stop() {
      clearTimeout(timer);
      timer = 0;
    },
  };
}
