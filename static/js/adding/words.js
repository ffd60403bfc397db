// What the page says. The words come translated in `data-says-*` of an element; figures go in here.

export const form = document.getElementById("new-batch");
const says = document.getElementById("says");

const language = document.documentElement.lang;
const figures = new Intl.NumberFormat(language);
const plurals = new Intl.PluralRules(language);

export const figure = (number) => figures.format(number);

/** The words called `name`, with `values` in their {places}; `n` chooses between one and many. */
export function say(name, values = {}) {
  const said = says.dataset;
  const key = `says${name[0].toUpperCase()}${name.slice(1)}`;
  const isOne = "n" in values && plurals.select(values.n) === "one";
  const text = (isOne && said[`${key}One`]) || said[key] || "";
  return text.replace(/\{(\w+)\}/g, (_, place) => {
    const value = values[place];
    return typeof value === "number" ? figure(value) : value;
  });
}

/** Put a text where it is not already: screen readers hear of changes only. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
