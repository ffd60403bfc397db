// Put what the pages load beside the style sheet in static/dist/: htmx, the font, the icons.
// Run by `npm run build`, after Tailwind.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const dist = path.join(root, "static", "dist");
const packages = path.dirname(path.dirname(createRequire(import.meta.url).resolve("htmx.org/package.json")));

mkdirSync(dist, { recursive: true });

const copies = {
  "htmx.min.js": "htmx.org/dist/htmx.min.js",
  "inter.woff2": "inter-ui/variable/InterVariable.woff2",
  "inter-latin.woff2": "inter-ui/variable-latin/InterVariable-subset.woff2",
};
for (const [name, source] of Object.entries(copies)) {
  copyFileSync(path.join(packages, source), path.join(dist, name));
}

// One file with a <symbol> for each icon. Colour and stroke sit on the symbols, so a page says
// no more than <use href="icons.svg#name">.
const names = readFileSync(path.join(root, "styles", "icons.txt"), "utf8")
  .split("\n")
  .map((line) => line.trim())
  .filter((line) => line && !line.startsWith("#"));
const symbols = names.map((name) => {
  const icon = readFileSync(path.join(packages, "lucide-static", "icons", `${name}.svg`), "utf8");
  const shapes = icon.match(/<svg[^>]*>([\s\S]*)<\/svg>/)[1].replace(/\s+/g, " ").trim();
  return (
    `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" ` +
    `stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">${shapes}</symbol>`
  );
});
writeFileSync(
  path.join(dist, "icons.svg"),
  `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`,
);

console.log(`static/dist: app.css, ${Object.keys(copies).join(", ")}, icons.svg (${names.length} icons)`);
