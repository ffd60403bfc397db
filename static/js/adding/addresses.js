// Pasted addresses: judged line by line while one types, then opened a few at a time. A card for
// each that can be used.

import { ask, pause, SignedOut } from "./asking.js";
import { put, say } from "./words.js";

const QUIET = 400; // milliseconds without a key before the text is judged
const TOGETHER = 8;
const NOTES = 30;
const BUSY = 2; // seconds to wait where the server doesn't say

export class Addresses {
  #text;
  #notes;
  #grid;
  #at;
  #told;
  #timer = 0;
  #round = 0;
  #judgedText = "";
  #found = new Map(); // address -> what opening it has shown
  #probing = false;

  /** Lines that are the same as an earlier one, and lines that can't be used. */
  joined = 0;
  wrong = 0;
  /** `at`: addresses `judge` and `probe`, and `isGuest`; `told(error)` after each change. */
  constructor(text, notes, grid, at, told) {
    this.#text = text;
    this.#notes = notes;
    this.#grid = grid;
    this.#at = at;
    this.#told = told;
    text.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.judge(), QUIET);
      told();
    });
    notes.addEventListener("click", (event) => {
      const line = event.target.closest("button")?.dataset.line;
      if (line) this.#goTo(Number(line));
    });
  }

  get #cards() {
    return this.#grid.all.filter(({ kind }) => kind === "url");
  }

  /** The text has changed and is not judged yet. */
  get isUnread() {
    return this.#text.value.trim() !== this.#judgedText.trim();
  }

  /** Cards that wait for their address to be opened: how many, of how many. */
  get checking() {
    const cards = this.#cards;
    const open = cards.filter(({ state }) => state === "checking").length;
    return { open, done: cards.length - open, total: cards.length };
  }

  /** Ask what is on the lines. */
  async judge() {
    const round = ++this.#round;
    const text = this.#text.value;
    let lines = [];
    if (text.trim()) {
      const body = new FormData();
      body.append("urls", text);
      try {
        const { status, told } = await ask(this.#at.judge, body);
        if (round !== this.#round) return;
        if (status !== 200) return this.#putNotes([{ message: told?.message || say("lostWhy") }]);
        lines = told.lines;
      } catch (error) {
        if (round !== this.#round) return;
        this.#told(error);
        if (!(error instanceof SignedOut)) this.#timer = setTimeout(() => this.judge(), 5000);
        return;
      }
    }
    this.#judgedText = text;
    this.#show(lines);
    this.#told();
    this.#probe();
  }

  #show(lines) {
    const usable = new Map();
    const notes = [];
    const wrong = lines.filter(({ problem }) => problem);
    for (const { line, problem } of wrong)
      notes.push({ line, message: problem.message, bad: true });
    const twins = lines.filter(({ problem, same_as }) => !problem && same_as);
    for (const { line, same_as: other } of twins) {
      notes.push({ line, message: say("sameLine", { line: String(line), other: String(other) }) });
    }
    for (const { line, url, name, problem, same_as, tracking } of lines) {
      if (problem || same_as) continue;
      usable.set(`url:${url}`, { url, name, line });
      if (!tracking.length) continue;
      notes.push({ line, message: say("tracking", { names: tracking.join(", ") }) });
    }
    this.wrong = wrong.length;
    this.joined = twins.length;
    this.lines = lines;
    for (const card of this.#cards) if (!usable.has(card.key)) this.#grid.remove(card);
    const fresh = [];
    for (const [key, { url, name, line }] of usable) {
      if (this.#grid.get(key)) continue;
      const known = this.#found.get(url);
      const state = this.#at.isGuest ? "ready" : "checking"; // strangers' are not opened
      fresh.push({ key, kind: "url", name, url, line, state, ...known });
    }
    this.#grid.add(fresh);
    this.#putNotes(notes);
  }

  #putNotes(notes) {
    const rows = notes.slice(0, NOTES).map(({ line, message, bad }) => {
      const row = document.createElement("li");
      row.className = "address-note";
      if (bad) row.dataset.bad = "";
      if (line) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "link num";
        button.dataset.line = line;
        put(button, say("line", { line: String(line) }));
        row.append(button, " ");
      }
      row.append(message);
      return row;
    });
    if (notes.length > NOTES) {
      const row = document.createElement("li");
      put(row, say("more", { n: notes.length - NOTES }));
      rows.push(row);
    }
    this.#notes.replaceChildren(...rows);
    this.#notes.hidden = rows.length === 0;
  }

  // Select the line in the text, and bring it into view.
  #goTo(number) {
    const lines = this.#text.value.split("\n");
    const start = lines.slice(0, number - 1).reduce((sum, line) => sum + line.length + 1, 0);
    this.#text.focus();
    this.#text.setSelectionRange(start, start + (lines[number - 1] ?? "").length);
    const height = Number.parseFloat(getComputedStyle(this.#text).lineHeight);
    this.#text.scrollTop = (number - 3) * height;
  }

  // One question at a time: the sites behind the addresses are somebody's.
  async #probe() {
    if (this.#probing) return;
    this.#probing = true;
    for (;;) {
      const cards = this.#cards.filter(({ state }) => state === "checking").slice(0, TOGETHER);
      if (!cards.length) break;
      try {
        const urls = cards.map(({ url }) => url);
        const { status, told, after } = await ask(this.#at.probe, { urls });
        if (status === 503) {
          await pause((after || BUSY) * 1000);
          continue;
        }
        if (status === 429) {
          this.skip(); // for an hour or so
          break;
        }
        const results = new Map((told?.results ?? []).map((result) => [result.url, result]));
        for (const card of cards) this.#learn(card, results.get(card.url) ?? { ok: true });
      } catch (error) {
        this.#told(error);
        if (error instanceof SignedOut) break;
        await pause(5000);
      }
      this.#told();
    }
    this.#probing = false;
  }

  #learn(card, { ok, message }) {
    const known = ok ? { state: "ready" } : { state: "problem", message };
    this.#found.set(card.url, known);
    this.#grid.update(card, known);
  }

  /** Go on after signing in. */
  goOn() {
    if (this.isUnread) this.judge();
    else this.#probe();
  }

  /** Don't wait for the rest: opening them is advice, not a condition. */
  skip() {
    for (const card of this.#cards) {
      if (card.state === "checking") this.#grid.update(card, { state: "ready" });
    }
  }

  /** A card was removed: so are its lines. */
  forget(card) {
    const own = this.lines.find(({ url, same_as }) => url === card.url && !same_as);
    const gone = new Set(
      this.lines
        .filter(({ line, same_as }) => line === own?.line || same_as === own?.line)
        .map(({ line }) => this.#judgedText.split("\n")[line - 1]?.trim()),
    );
    const kept = this.#text.value.split("\n").filter((line) => !gone.has(line.trim()));
    this.#text.value = kept.join("\n");
    this.#text.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
