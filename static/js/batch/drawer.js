// The drawer: an image's own page, fetched into a dialog. Esc closes it and the focus goes back to
// the image's card; the address says which image is open, so that it can be passed on.

const drawer = document.getElementById("drawer");
const body = document.getElementById("drawer-body");
const keys = document.getElementById("keys");
let item = "";

function address(name) {
  const url = new URL(location.href);
  if (name) url.searchParams.set("item", name);
  else url.searchParams.delete("item");
  history.replaceState(history.state, "", url);
}

function opened() {
  const sheet = body.querySelector("#item");
  if (!sheet) return;
  const isNew = item !== sheet.dataset.item;
  item = sheet.dataset.item;
  sheet.querySelector("[data-close]").hidden = false;
  if (!drawer.open) drawer.showModal();
  if (isNew) {
    drawer.scrollTop = 0;
    sheet.querySelector("#item-title").focus();
    address(item);
  }
}

function closed() {
  address("");
  body.replaceChildren();
  const card = document.getElementById(`item-${item}`);
  item = "";
  if (!card) return;
  card.scrollIntoView({ block: "nearest" });
  card.querySelector(".card-open")?.focus();
}

const isTyping = (target) =>
  target.closest("input, select, textarea, img-comparison-slider, [contenteditable]");

function go(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const rtl = document.documentElement.dir === "rtl";
  const where = {
    ArrowRight: rtl ? "previous" : "next",
    ArrowLeft: rtl ? "next" : "previous",
    j: "next",
    k: "previous",
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const link = where && body.querySelector(`[data-go="${where}"]`);
  if (!link) return;
  event.preventDefault();
  link.click();
}

if (drawer) {
  document.addEventListener("htmx:afterSettle", (event) => {
    if (body.contains(event.target)) opened();
  });
  drawer.addEventListener("close", closed);
  drawer.addEventListener("keydown", go);
  drawer.addEventListener("click", (event) => {
    if (event.target === drawer || event.target.closest("[data-close]")) drawer.close();
  });
  // A retry from the drawer: its card shows what comes of it.
  document.addEventListener("carried-out", () => drawer.open && drawer.close());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "?" || isTyping(event.target) || keys.open) return;
    keys.showModal();
  });
}
