// A button with `data-copy` copies what the field or element of that id holds, and says so.

for (const button of document.querySelectorAll("[data-copy]")) {
  if (navigator.clipboard) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  await navigator.clipboard.writeText(source.value ?? source.textContent);
  const words = button.querySelector("span");
  const before = words.textContent;
  if (before === button.dataset.saysCopied) return;
  words.textContent = button.dataset.saysCopied;
  setTimeout(() => {
    words.textContent = before;
  }, 2000);
});
