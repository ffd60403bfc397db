// The grid: a card for each image, from the moment it is added. What changes on cards is drawn
// once a frame, and only the cards that changed; off-screen ones cost nothing (content-visibility).

import { put, say } from "./words.js";

/**
 * An image on the page:
 *   key       its name among the cards
 *   kind      "file" or "url"
 *   name      for people
 *   state     waiting, uploading, paused, ready, refused, lost, ghost, checking or problem
 *   message   why, where something is in the way
 *   upload    the server's id, once it has the file
 *   refused   the server's token, where it turned the file away
 *   can       what the button on the card does: "again", "shrink", "choose" or nothing
 *   share     of its bytes that are sent, from 0 to 1
 */

const STEPS = 100; // of a bar; a smaller one is not drawn

export class Grid {
  #pictures = new Map();
  #dirty = new Set();
  #frame = 0;
  #current = null;

  /**
   * `changed()` after each drawing; `removed(picture)` by hand; `acted(picture, what)` where its
   * button was pressed; `emptied()` when focus has no card to go to.
   */
  constructor(list, template, { changed, removed, acted, emptied }) {
    this.list = list;
    this.template = template;
    this.changed = changed;
    this.removed = removed;
    this.acted = acted;
    this.emptied = emptied;
    for (const element of list.children) this.#adopt(element);
    list.addEventListener("click", (event) => this.#click(event));
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("focusin", (event) => this.#rove(event.target.closest("li")));
    list.addEventListener("error", (event) => this.#unreadable(event.target), true);
    if (list.firstElementChild) this.#rove(list.firstElementChild);
  }

  get all() {
    return [...this.#pictures.values()];
  }

  get(key) {
    return this.#pictures.get(key);
  }

  /** The card of an image that the server has, if there is one. */
  holding(upload) {
    return this.all.find((picture) => picture.upload === upload);
  }

  add(pictures) {
    const cards = document.createDocumentFragment();
    for (const picture of pictures) {
      picture.element = this.template.content.firstElementChild.cloneNode(true);
      this.#bind(picture);
      cards.append(picture.element);
    }
    this.list.append(cards);
    if (!this.#current && this.list.firstElementChild) this.#rove(this.list.firstElementChild);
    this.#schedule();
  }

  update(picture, changes) {
    if (!this.#pictures.has(picture.key)) return;
    Object.assign(picture, changes);
    this.#dirty.add(picture);
    this.#schedule();
  }

  progress(picture, share) {
    const step = Math.floor(share * STEPS);
    if (step !== Math.floor((picture.share ?? 0) * STEPS)) this.update(picture, { share });
  }

  /** Take a card away. Focus that was on it goes to its neighbour. */
  remove(picture) {
    const { element } = picture;
    const hadFocus = element.contains(document.activeElement);
    const next = element.nextElementSibling || element.previousElementSibling;
    this.#pictures.delete(picture.key);
    this.#dirty.delete(picture);
    if (picture.preview) URL.revokeObjectURL(picture.preview);
    element.remove();
    if (this.#current === element) {
      this.#current = null;
      if (next) this.#rove(next);
    }
    if (hadFocus) next ? next.focus() : this.emptied();
    this.#schedule();
  }

  // The server's own cards: what the draft holds.
  #adopt(element) {
    const { upload, refused, state } = element.dataset;
    const picture = {
      key: upload || refused,
      kind: "file",
      name: this.#part(element, "name").textContent,
      message: this.#part(element, "message").textContent,
      thumbnail: element.querySelector("img").getAttribute("src"),
      element,
      upload,
      refused,
      state,
    };
    this.#bind(picture);
  }

  #bind(picture) {
    picture.element.tabIndex = -1;
    picture.element.dataset.key = picture.key;
    picture.element.dataset.kind = picture.kind;
    this.#pictures.set(picture.key, picture);
    this.#dirty.add(picture);
  }

  #part(element, name) {
    return element.querySelector(`[data-part="${name}"]`);
  }

  /** Something else has changed: call `changed` with the next frame. */
  touch() {
    this.#schedule();
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => this.draw());
  }

  /** Draw what changed, now. */
  draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    for (const picture of this.#dirty) this.#draw(picture);
    this.#dirty.clear();
    this.changed();
  }

  #draw(picture) {
    const { element, name, state, can } = picture;
    const word = say(state);
    element.dataset.state = state;
    element.setAttribute("aria-label", `${name}, ${word}`);
    put(this.#part(element, "name"), name);
    this.#part(element, "name").title = picture.url || name;
    put(this.#part(element, "word"), word);
    put(this.#part(element, "message"), picture.message || "");
    const action = this.#part(element, "act");
    action.hidden = !can;
    if (can) {
      put(action, say(can));
      action.setAttribute("aria-label", `${say(can)}: ${name}`);
    }
    const remove = this.#part(element, "remove");
    remove.hidden = false;
    remove.setAttribute("aria-label", say("remove", { name }));
    element.querySelector("rect").setAttribute("width", (picture.share ?? 0) * 100);
    const image = element.querySelector("img");
    const source = picture.thumbnail || picture.preview;
    if (source && image.getAttribute("src") !== source) image.src = source;
    image.hidden = !source;
    if (picture.thumbnail && picture.preview) {
      URL.revokeObjectURL(picture.preview);
      picture.preview = null;
    }
  }

  // One card, and what is on it, is in the order of the Tab key; arrows move to the others.
  #rove(element) {
    if (!element || element === this.#current) return;
    for (const [card, index] of [
      [this.#current, -1],
      [element, 0],
    ]) {
      if (!card) continue;
      card.tabIndex = index;
      for (const button of card.querySelectorAll("button")) button.tabIndex = index;
    }
    this.#current = element;
  }

  #click(event) {
    const button = event.target.closest("button");
    const picture = this.get(event.target.closest("li")?.dataset.key);
    if (!button || !picture) return;
    if (button.dataset.part === "remove") this.#removeByHand(picture);
    else this.acted(picture, picture.can);
  }

  // A preview that the browser can't read: the card keeps its icon.
  #unreadable(image) {
    image.hidden = true;
    const picture = this.get(image.closest("li").dataset.key);
    if (!picture?.preview) return;
    URL.revokeObjectURL(picture.preview);
    picture.preview = null;
  }

  #removeByHand(picture) {
    this.remove(picture);
    this.removed(picture);
  }

  #key(event) {
    const element = event.target.closest("li");
    if (!element) return;
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      element.focus();
      this.#removeByHand(this.get(element.dataset.key));
      return;
    }
    const columns = getComputedStyle(this.list).gridTemplateColumns.split(" ").length;
    const back = document.documentElement.dir === "rtl" ? 1 : -1;
    const steps = {
      ArrowLeft: back,
      ArrowRight: -back,
      ArrowUp: -columns,
      ArrowDown: columns,
      Home: -Infinity,
      End: Infinity,
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const cards = [...this.list.children];
    const to = cards.indexOf(element) + steps[event.key];
    cards[Math.min(Math.max(to, 0), cards.length - 1)].focus();
  }
}
