// What addresses will be with another beginning, while it is typed.

document.addEventListener("input", (event) => {
  const form = event.target.closest?.("form");
  if (!form?.elements.old || !form.elements.new) return;
  const before = form.elements.old.value.trim();
  for (const line of form.querySelectorAll("[data-address]")) {
    const address = line.dataset.address;
    const fits = before && address.startsWith(before);
    line.textContent = fits
      ? form.elements.new.value.trim() + address.slice(before.length)
      : address;
    line.classList.toggle("opacity-50", !fits);
  }
});
