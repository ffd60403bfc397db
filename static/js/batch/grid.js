// Arrow keys move between the cards' links, line by line where there are several in one.

const grid = () => document.getElementById("cards");

document.addEventListener("keydown", (event) => {
  if (!event.target.matches?.("#cards .card-open") || event.ctrlKey || event.metaKey) return;
  const links = [...grid().querySelectorAll(".card-open")];
  const here = links.indexOf(event.target);
  const top = (link) => link.closest("li").offsetTop;
  const columns = links.filter((link) => top(link) === top(links[0])).length;
  const rtl = document.documentElement.dir === "rtl";
  const step = {
    ArrowRight: rtl ? -1 : 1,
    ArrowLeft: rtl ? 1 : -1,
    ArrowDown: columns,
    ArrowUp: -columns,
  }[event.key];
  const to = step && links[here + step];
  if (!to) return;
  event.preventDefault();
  to.focus();
});

// A card that is replaced while it has the focus keeps it.
let focused = null;
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const card = event.detail.target;
  if (card?.matches?.("#cards > li") && card.contains(document.activeElement)) focused = card.id;
});
document.addEventListener("htmx:oobAfterSwap", () => {
  if (!focused) return;
  document.getElementById(focused)?.querySelector(".card-open")?.focus({ preventScroll: true });
  focused = null;
});
