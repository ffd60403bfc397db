// The viewer of `batches/_viewer.html`: slider or side by side, fit or every pixel, four backdrops.
// `showViewers(place)` brings all viewers within a place to life; calling it again does no harm, so
// it may follow every swap.

import "img-comparison-slider";

const BACKDROP = "viewer-backdrop";
const BACKDROPS = ["checker", "white", "grey", "black"];

const remembered = () => {
  try {
    const name = localStorage.getItem(BACKDROP);
    return BACKDROPS.includes(name) ? name : BACKDROPS[0];
  } catch {
    return BACKDROPS[0]; // storage may be switched off
  }
};

const remember = (name) => {
  try {
    localStorage.setItem(BACKDROP, name);
  } catch {
    // Then it holds for this page only.
  }
};

export function showViewers(place = document) {
  const found = [...place.querySelectorAll("[data-viewer]")];
  if (place.matches?.("[data-viewer]")) found.push(place);
  for (const root of found) {
    if (root.dataset.alive) continue;
    root.dataset.alive = "yes";
    new Viewer(root);
  }
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.stage = root.querySelector('[data-part="stage"]');
    this.slider = root.querySelector("img-comparison-slider");
    root.querySelector('[data-part="tools"]').hidden = false;
    this.backdrop(remembered());
    root.addEventListener("click", (event) => this.press(event.target.closest("button")));
    this.stage.addEventListener("dblclick", () => this.zoom(root.dataset.zoom === "fit"));
    this.slider?.addEventListener("slide", () => {
      this.slider.setAttribute("aria-valuenow", String(Math.round(this.slider.value)));
    });
    for (const pane of this.panes()) this.pannable(pane);
  }

  panes() {
    return [...this.stage.querySelectorAll('[data-part="pane"]')];
  }

  press(button) {
    if (!button) return;
    if (button.dataset.mode) this.mode(button.dataset.mode);
    if (button.dataset.backdrop) {
      remember(button.dataset.backdrop);
      this.backdrop(button.dataset.backdrop);
    }
    if (button.dataset.part === "zoom") this.zoom(this.root.dataset.zoom === "fit");
  }

  choose(kind, value) {
    this.root.dataset[kind] = value;
    for (const button of this.root.querySelectorAll(`button[data-${kind}]`)) {
      button.setAttribute("aria-pressed", String(button.dataset[kind] === value));
    }
  }

  backdrop(name) {
    this.choose("backdrop", name);
  }

  // The second pair of pictures is made when somebody asks for it; the browser has both already.
  mode(name) {
    if (name === "side" && !this.stage.querySelector(".viewer-side")) {
      for (const layer of this.slider.querySelectorAll(".viewer-layer")) {
        const pane = document.createElement("div");
        pane.className = "viewer-pane viewer-side";
        pane.dataset.part = "pane";
        const copy = layer.cloneNode(true);
        copy.removeAttribute("slot");
        copy.classList.add("viewer-picture");
        pane.append(copy);
        this.stage.append(pane);
        this.pannable(pane);
      }
    }
    this.choose("mode", name);
    this.measure();
  }

  zoom(whole) {
    this.root.dataset.zoom = whole ? "whole" : "fit";
    this.root.querySelector('[data-part="zoom"]')?.setAttribute("aria-pressed", String(whole));
    if (this.slider) this.slider.handle = String(whole); // dragging elsewhere moves the picture
    this.measure();
    if (!whole) return;
    for (const pane of this.panes()) {
      pane.scrollLeft = (pane.scrollWidth - pane.clientWidth) / 2;
      pane.scrollTop = (pane.scrollHeight - pane.clientHeight) / 2;
    }
  }

  // Every pixel of the result is one on the screen; a smaller original is enlarged to match it.
  measure() {
    const pictures = [...this.stage.querySelectorAll("img")];
    const last = pictures.findLast((picture) => picture.naturalWidth);
    if (!last) return;
    this.stage.style.setProperty("--viewer-width", `${last.naturalWidth}px`);
    this.stage.style.setProperty("--viewer-height", `${last.naturalHeight}px`);
  }

  // A mouse drags the picture where it does not fit; fingers scroll by themselves.
  pannable(pane) {
    let from = null;
    pane.addEventListener("pointerdown", (event) => {
      if (this.root.dataset.zoom === "fit" || event.pointerType !== "mouse") return;
      from = { x: event.clientX + pane.scrollLeft, y: event.clientY + pane.scrollTop };
    });
    window.addEventListener("pointerup", () => {
      from = null;
    });
    pane.addEventListener("pointermove", (event) => {
      if (!from || this.isSliding(event)) return;
      pane.scrollLeft = from.x - event.clientX;
      pane.scrollTop = from.y - event.clientY;
    });
    pane.addEventListener("dragstart", (event) => event.preventDefault());
    pane.addEventListener("scroll", () => {
      for (const other of this.panes()) {
        if (other === pane || !pane.classList.contains("viewer-side")) continue;
        other.scrollLeft = pane.scrollLeft;
        other.scrollTop = pane.scrollTop;
      }
    });
  }

  isSliding(event) {
    return Boolean(this.slider?.isMouseDown && event.target.closest("img-comparison-slider"));
  }
}
