// One file on its way up, with its progress. `cancel()` lets go of it.

export function send(file, { to, token, said, onProgress }) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve) => {
    const body = new FormData();
    body.append("csrfmiddlewaretoken", token);
    body.append("file", file, file.name);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(Math.floor((100 * event.loaded) / event.total));
    });
    request.addEventListener("error", () => resolve({ message: said.lost }));
    request.addEventListener("abort", () => resolve({ cancelled: true }));
    request.addEventListener("load", () => resolve(read(request, said)));
    request.open("POST", to);
    request.send(body);
  });
  return { done, cancel: () => request.abort() };
}

function read(request, said) {
  if (request.status === 401) return { message: said.expired };
  try {
    const answer = JSON.parse(request.responseText);
    return answer.upload || answer.message ? answer : { message: said.lost };
  } catch {
    return { message: said.lost };
  }
}
