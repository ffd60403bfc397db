// A button with `data-copy` copies the text of the element of that id, and says so.

for (const button of document.querySelectorAll("[data-copy]")) {
  if (navigator.clipboard) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  const words = button.querySelector("span");
  const before = words.textContent;
  if (before === button.dataset.saysCopied) return;
  words.textContent = button.dataset.saysCopied;
  setTimeout(() => {
    words.textContent = before;
  }, 2000);
});
