// A form that asks for a time zone begins with the one that this machine is in.

const select = document.querySelector("[data-own-zone] select");
const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (select && [...select.options].some((option) => option.value === own)) {
  select.value = own;
  // The next times are shown in it; by then htmx listens.
  addEventListener("load", () => select.dispatchEvent(new Event("change", { bubbles: true })));
}
