// Polls rest while nobody looks. Whoever wants to be told of the end is told by the browser: then
// a hidden page goes on asking, but seldom.

const page = document.getElementById("batch");
const notice = document.getElementById("tell-me");
const CHOICE = "notify-when-done";
const SELDOM = 5; // one poll in so many while the page is hidden

let live = page?.dataset.live === "yes";
let skipped = 0;

const wanted = () => Boolean(notice?.querySelector("input").checked);

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.id !== "run" || !document.hidden) return;
  skipped += 1;
  if (!wanted() || skipped % SELDOM) event.preventDefault();
});

document.addEventListener("htmx:afterSwap", () => {
  const asks = document.getElementById("run")?.hasAttribute("hx-get");
  if (live && asks === false) {
    live = false;
    if (wanted()) new Notification(page.dataset.saysFinished, { tag: location.pathname });
    if (notice) notice.hidden = true;
  } else if (asks) {
    live = true;
    if (notice && "Notification" in window) notice.hidden = false;
  }
});

if (notice && "Notification" in window) {
  const box = notice.querySelector("input");
  notice.hidden = false;
  box.checked = Notification.permission === "granted" && localStorage.getItem(CHOICE) === "yes";
  box.addEventListener("change", async () => {
    if (box.checked) box.checked = (await Notification.requestPermission()) === "granted";
    localStorage.setItem(CHOICE, box.checked ? "yes" : "no");
  });
}
