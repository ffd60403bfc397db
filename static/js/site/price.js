// What one image costs with the settings that a form shows: the rules are the server's own.

export function priceOf(form) {
  const given = new FormData(form);
  const rule = JSON.parse(form.dataset.priceRules).find(({ when }) =>
    Object.entries(when).every(([name, value]) => given.get(name) === String(value)),
  );
  return rule ? rule.credits : Number(form.dataset.price);
}
