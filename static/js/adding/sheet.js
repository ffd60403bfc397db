// The sheet of a new batch. The server shows it and judges its rows; here is what the page counts.

import { form } from "./words.js";

const SHEETS = /\.(csv|tsv|xlsx|xlsm)$/i;

const panel = () => document.getElementById("sheet");

/** Whether a file that was dropped is a spreadsheet, and no picture. */
export const isSheet = (file) => SHEETS.test(file.name);

/** The sheet on the page as it counts: nothing, or rows that would run and what they cost. */
export function sheetOnPage() {
  const at = panel()?.dataset;
  if (!at?.sheet) return null;
  const rows = Number(at.rows ?? 0);
  const wrong = Number(at.wrong ?? 0);
  return {
    name: at.sheet,
    isReading: at.rows === undefined && at.unusable === undefined,
    isUnusable: at.rows === undefined && at.unusable !== undefined,
    rows,
    usable: rows - wrong,
    wrong,
    // Where rows have settings of their own the server has added their prices up.
    credits: at.credits === undefined ? null : Number(at.credits),
    judged: Number(at.judged ?? 0) - wrong,
    isUndecided: wrong > 0 && !document.getElementById("sheet-skip")?.checked,
  };
}

/** Put a file where somebody would have chosen it. */
export function chooseSheet(file) {
  const input = document.getElementById("sheet-file");
  if (!input) return;
  const files = new DataTransfer();
  files.items.add(file);
  input.files = files.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

/** Call `changed` whenever another sheet, or another look of it, is on the page. */
export function listenToSheet(changed) {
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.id !== "sheet-link") return;
    event.preventDefault(); // it would start the batch
    document.getElementById("sheet-read").click();
  });
  document.body.addEventListener("htmx:afterSwap", (event) => {
    const { target } = event.detail;
    if (target.id !== "sheet" && !panel()?.contains(target)) return;
    // Whoever chose a file or pressed a button that is gone goes on at the sheet.
    if (document.activeElement === document.body) {
      document.getElementById("sheet-name")?.focus({ preventScroll: true });
    }
    changed();
  });
}
