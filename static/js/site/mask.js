// Painting a mask over the image that is there. Strokes are kept as points of the image, so they
// can be undone, and become a picture of the image's own size only when they are used.

import { fill, take } from "./pictures.js";

const part = (place, name) => place.querySelector(`[data-part="${name}"]`);

/** The image that a setting is for, once the browser has it: its element, width and height. */
function pictureFor(setting) {
  const form = setting.closest("form");
  const preview = form.querySelector("#preview");
  const shown = (setting.closest("dialog") ?? form).querySelector('.viewer img[src*="/original/"]');
  const element = preview?.src ? preview : shown;
  if (!element?.naturalWidth) return null;
  // A preview may be a small picture of the image: the server says how large that really is.
  const { width, height } = element === preview ? (form.elements.upload?.dataset ?? {}) : {};
  return {
    element,
    width: Number(width) || element.naturalWidth,
    height: Number(height) || element.naturalHeight,
  };
}

const canPaint = (setting) => {
  const form = setting.closest("form");
  const around = setting.closest("dialog") ?? form;
  return Boolean(form?.querySelector("#preview") || around?.querySelector(".viewer"));
};

class Painting {
  constructor(setting) {
    this.setting = setting;
    this.dialog = part(setting, "dialog");
    // Out of the form: Enter in it must not send the form, and a form around it may be replaced.
    document.body.append(this.dialog);
    this.canvas = part(this.dialog, "strokes");
    this.image = part(this.dialog, "picture");
    this.brush = part(this.dialog, "brush");
    this.size = part(this.dialog, "size");
    this.strokes = [];
    this.tool = "brush";
    this.at = { x: 0, y: 0 };
    this.#listen();
  }

  open() {
    const picture = pictureFor(this.setting);
    if (!picture) {
      part(this.setting, "says").textContent = this.dialog.dataset.saysNoPicture;
      return;
    }
    part(this.setting, "says").textContent = "";
    const { element, width, height } = picture;
    if (this.source !== element.src) this.strokes = [];
    Object.assign(this, { source: element.src, width, height });
    this.at = { x: width / 2, y: height / 2 };
    this.image.src = element.src;
    this.dialog.showModal();
    this.draw();
    this.canvas.focus();
  }

  /** The brush's diameter in pixels of the image: up to a third of it, finer among small ones. */
  get diameter() {
    return Math.max(1, ((this.size.value / 100) ** 1.6 * Math.min(this.width, this.height)) / 3);
  }

  #listen() {
    const { canvas, dialog } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.preventDefault();
      canvas.focus();
      canvas.setPointerCapture(event.pointerId);
      this.#begin(this.#place(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      // A pointer that lies still, where the dialog has come up below it, moves no brush.
      if (!this.stroke && !event.movementX && !event.movementY) return;
      this.#hover(this.#place(event));
      if (!this.stroke) return;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event])
        this.stroke.points.push(this.#place(each));
      this.draw();
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, () => this.#end());
    }
    canvas.addEventListener("pointerleave", () => {
      this.brush.hidden = true;
    });
    dialog.addEventListener("keydown", (event) => this.#key(event));
    dialog.addEventListener("click", (event) => this.#press(event.target.closest("button")));
    this.size.addEventListener("input", () => this.#hover(this.at));
    new ResizeObserver(() => this.draw()).observe(part(dialog, "stage"));
  }

  #press(button) {
    if (!button) return;
    if (button.dataset.tool) {
      this.tool = button.dataset.tool;
      for (const each of this.dialog.querySelectorAll("[data-tool]")) {
        each.setAttribute("aria-pressed", String(each === button));
      }
    } else if (button.dataset.part === "undo") this.strokes.pop();
    else if (button.dataset.part === "clear") this.strokes = [];
    else if (button.dataset.part === "cancel") this.dialog.close();
    else if (button.dataset.part === "save") this.#save();
    this.draw();
  }

  #key(event) {
    const step = this.diameter / 2;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key === "z") this.#press(part(this.dialog, "undo"));
    else if (event.key === "[" || event.key === "]") {
      this.size.value = Number(this.size.value) + (event.key === "]" ? 5 : -5);
      this.#hover(this.at);
    } else if (event.target !== this.canvas || command) return;
    else if (moves[event.key]) {
      const [x, y] = moves[event.key];
      this.at = {
        x: Math.min(Math.max(this.at.x + x * step, 0), this.width),
        y: Math.min(Math.max(this.at.y + y * step, 0), this.height),
      };
      this.#hover(this.at);
    } else if (event.key === " ") {
      this.#begin(this.at);
      this.#end();
    } else return;
    event.preventDefault();
  }

  #begin(point) {
    this.stroke = { tool: this.tool, diameter: this.diameter, points: [point] };
    this.strokes.push(this.stroke);
    this.draw();
  }

  #end() {
    this.stroke = null;
  }

  /** Where a pointer is, in pixels of the image. */
  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.width,
      y: ((event.clientY - box.top) / box.height) * this.height,
    };
  }

  #hover(at) {
    this.at = at;
    const scale = this.canvas.clientWidth / this.width;
    const { style } = this.brush;
    this.brush.hidden = false;
    style.setProperty("--across", `${this.diameter * scale}px`);
    style.setProperty("--x", `${this.canvas.offsetLeft + at.x * scale}px`);
    style.setProperty("--y", `${this.canvas.offsetTop + at.y * scale}px`);
  }

  /** Give the image all the room there is, and the canvas the very place of the image. */
  #fit() {
    const stage = part(this.dialog, "stage");
    const high = Math.min(window.innerHeight * 0.6, 680);
    const scale = Math.min(stage.clientWidth / this.width, high / this.height);
    stage.style.setProperty("--wide", `${Math.floor(this.width * scale)}px`);
    stage.style.setProperty("--high", `${Math.floor(this.height * scale)}px`);
  }

  draw() {
    if (!this.dialog.open) return;
    this.#fit();
    const { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(clientHeight * devicePixelRatio);
    this.#paint(this.canvas, getComputedStyle(this.canvas).color);
    for (const name of ["undo", "clear", "save"]) {
      part(this.dialog, name).disabled = !this.strokes.length;
    }
  }

  /** All strokes on a canvas of any size. */
  #paint(canvas, colour) {
    const brush = canvas.getContext("2d");
    brush.setTransform(canvas.width / this.width, 0, 0, canvas.height / this.height, 0, 0);
    brush.lineCap = brush.lineJoin = "round";
    brush.strokeStyle = colour;
    for (const { tool, diameter, points } of this.strokes) {
      brush.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over";
      brush.lineWidth = diameter;
      brush.beginPath();
      // A line of no length is not drawn: a dot is a very short one.
      brush.moveTo(points[0].x - 0.01, points[0].y);
      for (const { x, y } of points) brush.lineTo(x, y);
      brush.stroke();
    }
  }

  async #save() {
    const mask = document.createElement("canvas");
    mask.width = this.width;
    mask.height = this.height;
    this.#paint(mask, "#fff");
    const brush = mask.getContext("2d");
    brush?.setTransform(1, 0, 0, 1, 0, 0);
    brush.globalCompositeOperation = "destination-over";
    brush.fillRect(0, 0, mask.width, mask.height);
    const blob = await new Promise((resolve) => mask.toBlob(resolve, "image/png"));
    this.dialog.close();
    part(this.setting, "draw").focus();
    if (blob) {
      await take(this.setting, new File([blob], "mask.png", { type: "image/png" }));
      this.used = this.source;
    } else part(this.setting, "says").textContent = this.dialog.dataset.saysTooLarge;
  }

  /** Another image has taken the place of the one that was painted on. */
  forget() {
    if (!this.used || pictureFor(this.setting)?.element.src === this.used) return;
    this.used = null;
    this.strokes = [];
    fill(this.setting, "");
  }
}

const paintings = new Map();

export function showMasks(root = document) {
  for (const [setting, painting] of paintings) {
    if (setting.isConnected) continue;
    painting.dialog.remove();
    paintings.delete(setting);
  }
  for (const button of root.querySelectorAll('[data-picture] [data-part="draw"]')) {
    button.hidden = !canPaint(button.closest("[data-picture]"));
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest('[data-picture] [data-part="draw"]');
  if (!button) return;
  const setting = button.closest("[data-picture]");
  if (!paintings.has(setting)) paintings.set(setting, new Painting(setting));
  paintings.get(setting).open();
});
// `load` does not bubble, but it can be caught on its way down.
document.addEventListener(
  "load",
  (event) => {
    if (event.target.id !== "preview") return;
    for (const painting of paintings.values()) painting.forget();
  },
  true,
);
document.addEventListener("htmx:load", (event) => {
  showMasks(event.detail.elt.parentNode ?? document);
});
showMasks();
