// Put what the pages load in static/dist/: scripts, fonts, icons.
// Run by `npm run build`, which then adds the style sheet.

import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const dist = path.join(root, "static", "dist");
const packages = path.join(root, "node_modules");

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });

// Each file that lies directly in static/js becomes one script, with all that it imports inside.
const scripts = path.join(root, "static", "js");
const entries = readdirSync(scripts).filter((name) => name.endsWith(".js"));
await build({
  absWorkingDir: root,
  entryPoints: entries.map((name) => path.join(scripts, name)),
  outdir: dist,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  legalComments: "none",
  logLevel: "warning",
});

const fonts = {
  "inter.woff2": "inter-ui/variable/InterVariable.woff2",
  "inter-latin.woff2": "inter-ui/variable-latin/InterVariable-subset.woff2",
};
for (const [name, source] of Object.entries(fonts)) {
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
  const shapes = icon
    .match(/<svg[^>]*>([\s\S]*)<\/svg>/)[1]
    .replace(/\s+/g, " ")
    .trim();
  return (
    `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" ` +
    `stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">${shapes}</symbol>`
  );
});
writeFileSync(
  path.join(dist, "icons.svg"),
  `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`,
);

console.log(
  `static/dist: ${[...entries, ...Object.keys(fonts)].join(", ")}, icons.svg (${names.length} icons)`,
);
