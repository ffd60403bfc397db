// The list of batches: its address follows what is shown, and questions that are not meant close.

document.addEventListener("htmx:afterSwap", (event) => {
  const { pathInfo, target } = event.detail;
  if (target?.id !== "batches" || !pathInfo) return;
  // A reload, a bookmark or the way back shows the same again.
  const url = new URL(pathInfo.responsePath ?? pathInfo.finalRequestPath, location.href);
  for (const [name, value] of [...url.searchParams]) {
    if (!value) url.searchParams.delete(name);
  }
  history.replaceState(null, "", url);
  showChoice();
});

// On a phone the groups are wider than the screen.
function showChoice() {
  const chosen = document.querySelector("#batches [aria-current=true]");
  chosen?.scrollIntoView({ block: "nearest", inline: "nearest" });
}
showChoice();

// What a menu was opened for happens elsewhere in its row: it is in the way.
document.addEventListener("click", (event) => {
  const menu = event.target.closest?.("[data-menu] a[hx-get]")?.closest("[data-menu]");
  if (menu) menu.open = false;
});

function keep(question) {
  const row = question.closest("li");
  question.remove();
  row?.querySelector("[data-menu] summary")?.focus();
}

document.addEventListener("click", (event) => {
  const question = event.target.closest?.("[data-delete-keep]")?.closest("[data-delete]");
  if (!question) return;
  event.preventDefault();
  keep(question);
});

document.addEventListener("keydown", (event) => {
  const question = event.key === "Escape" && event.target.closest?.("[data-delete]");
  if (question) keep(question);
});
