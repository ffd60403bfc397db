// Where files come from: two buttons, a drop anywhere on the page, and the clipboard.

import { getDroppedFiles } from "@uppy/utils";

const IMAGES = /\.(jpe?g|png|webp|avif|hei[cf]|tiff?|bmp|gif)$/i;
const HIDDEN = /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|desktop\.ini$)/;

/** From folders only what looks like an image; what somebody chose by hand is always taken. */
function isWanted(file) {
  const path = file.webkitRelativePath || file.relativePath || "";
  if (!path.includes("/")) return true;
  return !HIDDEN.test(path) && (file.type.startsWith("image/") || IMAGES.test(file.name));
}

/** Call `take(files)` with what is chosen or dropped. `zone` glows while something hovers. */
export function listen({ inputs, area, zone, take }) {
  const give = (files) => {
    const wanted = [...files].filter(isWanted);
    take(wanted, files.length - wanted.length);
  };
  for (const input of inputs) {
    input.addEventListener("change", () => {
      give([...input.files]);
      input.value = ""; // they go up on their own, not with the form
    });
  }
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  for (const kind of ["dragenter", "dragover"]) {
    area.addEventListener(kind, (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      zone.dataset.over = "";
    });
  }
  area.addEventListener("dragleave", (event) => {
    if (!area.contains(event.relatedTarget)) delete zone.dataset.over;
  });
  area.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    delete zone.dataset.over;
    give(await getDroppedFiles(event.dataTransfer));
  });
  document.addEventListener("paste", (event) => {
    if (event.target.closest?.("input, textarea") || !event.clipboardData?.files.length) return;
    event.preventDefault();
    give([...event.clipboardData.files]);
  });
}
