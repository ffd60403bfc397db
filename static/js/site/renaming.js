// A name that is changed where it stands: the old one is selected, and Escape keeps it.

document.addEventListener("focusin", (event) => {
  if (event.target.matches?.("[data-rename] input")) event.target.select();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  event.target.closest?.("[data-rename]")?.querySelector("[data-rename-keep]")?.click();
});
