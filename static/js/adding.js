// The new-batch form: files go up as soon as they are chosen, one by one, four at a time. The form
// then sends their ids. Without this script it sends the files themselves.

const AT_ONCE = 4;

const form = document.getElementById("new-batch");

if (form.dataset.uploadUrl) {
  const input = document.getElementById("files");
  const drop = document.getElementById("drop");
  const list = document.getElementById("uploads");
  const template = document.getElementById("upload-template");
  const urls = document.getElementById("urls");
  const status = document.getElementById("upload-status");
  const says = form.dataset;
  const figures = new Intl.NumberFormat(document.documentElement.lang);

  const waiting = []; // [card, file]
  let running = 0;
  let sent = 0; // of this round: since the last time that nothing was on its way
  let duplicates = 0;
  let starting = false;

  const part = (card, name) => card.querySelector(`[data-part="${name}"]`);
  const fill = (text, values) =>
    text.replace(/\{(\w+)\}/g, (_, name) => figures.format(values[name]));
  const cards = (selector) => [...list.querySelectorAll(`:scope > ${selector}`)];

  function show(card, state, message = "", again = false) {
    for (const name of ["ready", "uploading", "refused"]) part(card, name).hidden = name !== state;
    part(card, "problem").hidden = state !== "refused";
    part(card, "message").textContent = message;
    part(card, "again").hidden = !again;
    part(card, "remove").hidden = state === "uploading";
  }

  function add(files) {
    for (const file of files) {
      const card = template.content.firstElementChild.cloneNode(true);
      const name = part(card, "name");
      name.textContent = name.title = file.name;
      const remove = part(card, "remove");
      remove.setAttribute("aria-label", `${remove.getAttribute("aria-label")} ${file.name}`);
      show(card, "uploading");
      list.append(card);
      waiting.push([card, file]);
    }
    next();
  }

  function next() {
    while (running < AT_ONCE && waiting.length) {
      const [card, file] = waiting.shift();
      running += 1;
      send(card, file).finally(() => {
        running -= 1;
        sent += 1;
        next();
      });
    }
    tell();
  }

  async function send(card, file) {
    const body = new FormData();
    body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    body.append("file", file, file.name);
    let answer, told;
    try {
      answer = await fetch(says.uploadUrl, { method: "POST", body, redirect: "manual" });
      told = answer.type === "opaqueredirect" ? null : await answer.json();
    } catch {
      return fail(card, file, says.saysLost);
    }
    if (!told) return fail(card, file, says.saysExpired);
    if (told.refused) {
      card.dataset.refused = told.refused;
      show(card, "refused", told.message);
    } else if (!told.upload) {
      fail(card, file, told.message || says.saysLost);
    } else if (cards(`[data-upload="${told.upload}"]`).length) {
      duplicates += 1;
      card.remove();
    } else {
      card.dataset.upload = told.upload;
      const picture = card.querySelector("img");
      picture.src = told.thumbnail;
      picture.hidden = false;
      show(card, "ready");
    }
  }

  // Not the file's fault: it stays here and can be sent again.
  function fail(card, file, message) {
    card.dataset.lost = "";
    show(card, "refused", message, true);
    part(card, "again").onclick = () => {
      delete card.dataset.lost;
      show(card, "uploading");
      waiting.push([card, file]);
      next();
    };
  }

  function price() {
    const given = new FormData(form);
    const rule = JSON.parse(says.priceRules).find(({ when }) =>
      Object.entries(when).every(([name, value]) => given.get(name) === String(value)),
    );
    return rule ? rule.credits : Number(says.price);
  }

  function tell() {
    const ready = cards("[data-upload]").length;
    const refused = cards("[data-refused]").length;
    const addresses = new Set(
      urls.value
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean),
    ).size;
    const uploading = running + waiting.length;
    const images = ready + addresses;
    const most = Number(says.limit);
    const over = images + refused > most;

    const words = [];
    if (uploading) {
      words.push(fill(says.saysUploading, { done: sent, total: sent + uploading }));
    } else {
      sent = 0;
      if (over) words.push(fill(says.saysOver, { n: images + refused, limit: most }));
      if (ready) words.push(fill(says.saysReady, { n: ready }));
      if (refused) words.push(fill(says.saysRefused, { n: refused }));
      if (duplicates) words.push(fill(says.saysDuplicates, { n: duplicates }));
      if (!images) words.push(says.saysEmpty);
    }
    const text = words.join(" · ");
    if (status.textContent !== text) status.textContent = text;

    const cost = images * price();
    const left = Number(says.available) - cost;
    for (const [id, value] of [
      ["cost", cost],
      ["after", left],
    ]) {
      const row = document.getElementById(id);
      row.hidden = images === 0;
      row.lastElementChild.textContent = figures.format(value);
      row.lastElementChild.classList.toggle("text-error-ink", left < 0);
    }

    form.elements.uploads.value = cards("[data-upload]")
      .map((card) => card.dataset.upload)
      .join(" ");
    form.elements.refused.value = cards("[data-refused]")
      .map((card) => card.dataset.refused)
      .join(" ");
    const can = images > 0 && !uploading && !over && !starting;
    for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = !can;
  }

  input.addEventListener("change", () => {
    add(input.files);
    input.value = ""; // they go up on their own, not with the form
  });

  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.dataset.over = "";
    });
  }
  drop.addEventListener("dragleave", (event) => {
    if (!drop.contains(event.relatedTarget)) delete drop.dataset.over;
  });
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    delete drop.dataset.over;
    add(event.dataTransfer.files);
  });

  list.addEventListener("click", (event) => {
    const button = event.target.closest('[data-part="remove"]');
    if (!button) return;
    button.closest("li").remove();
    tell();
    (list.querySelector('[data-part="remove"]') || input).focus();
  });

  form.addEventListener("input", tell);
  // Once is enough. The buttons are switched off only after the browser has read which was pressed.
  form.addEventListener("submit", (event) => {
    if (starting) event.preventDefault();
    starting = true;
    setTimeout(tell);
  });
  // A page that comes back by the Back button works again.
  window.addEventListener("pageshow", () => {
    starting = false;
    tell();
  });

  for (const card of cards("li")) part(card, "remove").hidden = false;
  tell();
}
