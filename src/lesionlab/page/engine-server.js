// Asks the service that served this page. Images go there and nowhere else.

let token = "";

async function asked(path, options = {}) {
  for (;;) {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch(path, { ...options, headers });
    if (answer.status === 401) token = await askToken();
    else if (answer.status === 503) await new Promise((go) => setTimeout(go, 1000 * Number(answer.headers.get("Retry-After") ?? 1)));
    else return answer;
  }
}

function askToken() {
  const dialog = document.getElementById("token-dialog");
  dialog.showModal();
  return new Promise((go) => {
    dialog.addEventListener("close", () => go(document.getElementById("token").value.trim()), { once: true });
  });
}

export const privacy = "They go to the lesionlab process that serves this page, and are forgotten once they are answered.";
export const atOnce = 2;

export async function start() {
  return (await asked("v1/model")).json();
}

export async function predict(file, model) {
  const form = new FormData();
  form.append("image", file, file.name);
  const query = `explain=${model.has_activation_maps}&neighbours=${model.reference ? 3 : 0}`;
  const answer = await asked(`v1/predict?${query}`, { method: "POST", body: form });
  const body = await answer.json();
  if (body.error) return { error: body.error };
  const [result] = body.results;
  for (const near of result.neighbours ?? []) {
    near.picture = await dataAddress(await (await asked(near.url)).blob());
  }
  return { result };
}

// A data: address, which a saved report can hold; a blob: address would end with the page.
function dataAddress(blob) {
  return new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(blob);
  });
}
