// The start page's before and after: a range laid over two pictures. Without us it stands half way.

for (const reveal of document.querySelectorAll("[data-reveal]")) {
  const range = reveal.querySelector("input");
  const show = () => reveal.style.setProperty("--at", `${range.value}%`);
  range.hidden = false;
  range.addEventListener("input", show);
  show();
}
