// The reference of the API: a field that finds entries, and a list that shows where one is.

const field = document.getElementById("find");
const found = document.querySelector("[data-found]");
const entries = [...document.querySelectorAll("[data-entry]")].map((element) => ({
  element,
  anchor: element.getAttribute("aria-labelledby"),
  text: element.firstElementChild.textContent.toLowerCase(),
}));
const links = new Map();
for (const link of document.querySelectorAll(".api-nav")) {
  const anchor = link.hash.slice(1);
  links.set(anchor, [...(links.get(anchor) ?? []), link]);
}

function find() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let matches = 0;
  for (const { element, anchor, text } of entries) {
    const match = words.every((word) => text.includes(word));
    matches += match;
    element.hidden = !match;
    for (const link of links.get(anchor) ?? []) link.parentElement.hidden = !match;
  }
  for (const group of document.querySelectorAll("[data-group]")) {
    group.hidden = !group.querySelector("[data-entry]:not([hidden])");
  }
  for (const group of document.querySelectorAll("[data-nav-group]")) {
    group.hidden = !group.querySelector("li:not([hidden])");
  }
  const { saysSome, saysNone } = found.dataset;
  const says = matches ? saysSome : saysNone;
  found.textContent = words.length
    ? says.replace("{n}", matches).replace("{total}", entries.length)
    : "";
}

field.closest("[data-find]").hidden = false;
field.addEventListener("input", find);
if (field.value) find(); // the browser has kept it over a reload

// What leads to an entry that the search hides shows everything again.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#"]');
  const target = link && document.getElementById(link.hash.slice(1));
  if (!target?.closest("[hidden]")) return;
  field.value = "";
  find();
});

// The entry that one reads is marked in the list beside it, which follows.
let here = null;
const reading = new IntersectionObserver(
  (seen) => {
    const entry = seen.find(({ isIntersecting }) => isIntersecting)?.target;
    if (!entry) return;
    for (const link of links.get(here) ?? []) link.removeAttribute("aria-current");
    here = entry.getAttribute("aria-labelledby");
    for (const link of links.get(here) ?? []) {
      link.setAttribute("aria-current", "true");
      const list = link.closest("nav");
      const { top, bottom } = list.getBoundingClientRect();
      const at = link.getBoundingClientRect();
      if (at.top < top || at.bottom > bottom) list.scrollTop += at.top - (top + bottom) / 2;
    }
  },
  { rootMargin: "-20% 0px -75%" },
);
for (const part of document.querySelectorAll("[data-entry], [data-here]")) reading.observe(part);
