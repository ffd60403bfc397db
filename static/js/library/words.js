// Words with a number in them. They come translated in `data-none`, `data-one` and `data-many`.

const language = document.documentElement.lang;
const figures = new Intl.NumberFormat(language);
const plurals = new Intl.PluralRules(language);

/** Let an element say how many there are. */
export function worded(element, n) {
  const { none, one, many } = element.dataset;
  const words = plurals.select(n) === "one" ? one : many;
  const text = n ? words.replace("{n}", figures.format(n)) : none;
  if (element.textContent !== text) element.textContent = text;
}
