// Questions to the server, and what it means when nobody is signed in any more.

import { form } from "./words.js";

/** The answer was 401 or 403: whoever was here is signed out. */
export class SignedOut extends Error {}

/** The token of this moment: signing in again, in whatever tab, changes it. */
export function token() {
  const cookie = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
  return cookie ? cookie[1] : form.elements.csrfmiddlewaretoken.value;
}

/**
 * Ask the server: a GET without a body, else a POST of a form (`FormData`) or of JSON.
 * Gives `{status, told, after}`; raises `SignedOut`, or `TypeError` when nobody answers.
 */
export async function ask(url, body, { keepalive = false } = {}) {
  const headers = { Accept: "application/json" };
  if (body) headers["X-CSRFToken"] = token();
  const isForm = body instanceof FormData;
  if (body && !isForm) headers["Content-Type"] = "application/json";
  const answer = await fetch(url, {
    method: body ? "POST" : "GET",
    headers,
    body: !body || isForm ? body : JSON.stringify(body),
    redirect: "manual",
    keepalive,
  });
  if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) {
    throw new SignedOut();
  }
  const told = await answer.json().catch(() => null);
  return { status: answer.status, told, after: Number(answer.headers.get("Retry-After")) };
}

export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
