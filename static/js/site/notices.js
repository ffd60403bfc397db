// Short words at the top of a page about what goes on around it. One of each name at a time:
// what is said again does not pile up.

const region = document.getElementById("notices");
const template = document.getElementById("notice");

const named = (name) => region.querySelector(`[data-notice="${name}"]`);

// The words that failures and the connection need; they come with the page, translated.
export const says = region.dataset;

export function say(name, words, { again = false } = {}) {
  let notice = named(name);
  if (!notice) {
    notice = template.content.firstElementChild.cloneNode(true);
    notice.dataset.notice = name;
    region.append(notice);
  }
  const text = notice.querySelector("[data-part=words]");
  if (text.textContent !== words) text.textContent = words;
  notice.querySelector("[data-part=again]").hidden = !again;
}

export function unsay(name) {
  named(name)?.remove();
}

// Also the messages of the page itself close this way.
document.addEventListener("click", (event) => {
  event.target.closest?.("[data-dismiss]")?.closest("[data-notice]").remove();
  if (event.target.closest?.("[data-part=again]")) window.location.reload();
});
