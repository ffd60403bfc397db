// Each tab keeps its unsent files in a place of its own, and finds it again after a reload.
//
// The browser's store of files is shared by all tabs. A tab takes a numbered place and holds a lock
// on it while it lives; the next tab takes the first place that is free, and with it whatever a
// closed or crashed tab has left there.

const MOST = 20;

function lock(name) {
  return new Promise((taken) => {
    navigator.locks.request(name, { ifAvailable: true }, (held) => {
      taken(Boolean(held));
      return held ? new Promise(() => {}) : undefined; // held until the page is gone
    });
  });
}

/** The name of this tab's place below `prefix`. */
export async function takeSlot(prefix) {
  if (!navigator.locks) return `${prefix}-0`;
  const mine = sessionStorage.getItem(prefix);
  const numbers = [...Array(MOST).keys()].map(String);
  for (const number of mine ? [mine, ...numbers] : numbers) {
    if (!(await lock(`${prefix}-${number}`))) continue;
    sessionStorage.setItem(prefix, number);
    return `${prefix}-${number}`;
  }
  return `${prefix}-${crypto.randomUUID()}`;
}
