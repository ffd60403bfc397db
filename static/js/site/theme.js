// The theme follows the system until somebody presses the switch. A cookie remembers the choice,
// so that the server sends the next page in the right colours and nothing flashes; for people who
// are signed in the server keeps it too, and all their browsers agree.

const root = document.documentElement;
const system = window.matchMedia("(prefers-color-scheme: dark)");
const YEAR = 365 * 24 * 60 * 60;

const isDark = () => (root.dataset.theme ? root.dataset.theme === "studio-dark" : system.matches);

for (const button of document.querySelectorAll("[data-theme-switch]")) {
  button.hidden = false;
  const tell = () => button.setAttribute("aria-pressed", String(isDark()));
  tell();
  system.addEventListener("change", tell);
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    root.dataset.theme = theme === "dark" ? "studio-dark" : "studio";
    // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is not everywhere yet.
    document.cookie = `theme=${theme}; path=/; max-age=${YEAR}; samesite=lax`;
    tell();
    const token = document.querySelector("[name=csrfmiddlewaretoken]")?.value;
    if (!button.dataset.saveAt || !token) return;
    // When it can't be kept, the cookie still has it: nothing to tell anybody.
    fetch(button.dataset.saveAt, {
      method: "POST",
      headers: { "X-CSRFToken": token },
      body: new URLSearchParams({ theme }),
      keepalive: true,
    }).catch(() => {});
  });
}
