// Pictures as settings: a button that sends a file and fills in its id, and a small preview.

import { send } from "./sending.js";

const UPLOAD = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const EMPTY = "00000000-0000-0000-0000-000000000000";

const part = (setting, name) => setting.querySelector(`[data-part="${name}"]`);
const field = (setting) => setting.querySelector('input[type="text"]');

// Shows what the field holds: a thumbnail of an upload; an address is not opened from here.
function show(setting) {
  const value = field(setting).value.trim();
  const preview = part(setting, "preview");
  preview.hidden = !UPLOAD.test(value);
  if (!preview.hidden) preview.src = setting.dataset.thumbnail.replace(EMPTY, value);
  const other = part(setting, "other");
  if (other && value) other.checked = true;
}

export function fill(setting, upload) {
  field(setting).value = upload;
  show(setting);
  field(setting).dispatchEvent(new Event("change", { bubbles: true }));
}

// Sends a file and puts its id into the field; what is wrong with it is said below the field.
export async function take(setting, file) {
  const { upload, saysSending, saysLost, saysExpired } = setting.dataset;
  const says = part(setting, "says");
  says.textContent = saysSending;
  const token = setting.closest("form").elements.csrfmiddlewaretoken?.value;
  const said = { lost: saysLost, expired: saysExpired };
  const answer = await send(file, { to: upload, token, said, onProgress() {} }).done;
  says.textContent = answer.message ?? "";
  if (answer.upload && !answer.refused) fill(setting, answer.upload);
}

function choose(setting) {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "image/*,.heic,.heif,.avif";
  input.addEventListener("change", () => input.files[0] && take(setting, input.files[0]));
  input.click();
}

export function showPictureSettings(root = document) {
  for (const setting of root.querySelectorAll("[data-picture]")) {
    part(setting, "choose").hidden = !setting.closest("form")?.elements.csrfmiddlewaretoken;
    show(setting);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest('[data-picture] [data-part="choose"]');
  if (button) choose(button.closest("[data-picture]"));
});
document.addEventListener("input", (event) => {
  const setting = event.target.closest?.("[data-picture]");
  if (setting && event.target.type === "text") show(setting);
});
document.addEventListener("htmx:load", (event) => {
  showPictureSettings(event.detail.elt.parentNode ?? document);
});
showPictureSettings();
