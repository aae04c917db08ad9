// Asks the service that served this page. Images go there and nowhere else.

const MOST_TRIES = 6; // of an image that the service refuses because it is busy
const MOST_WAIT_S = 20;

export const privacy = "They go to the lesionlab process that serves this page, which keeps none of them.";
export const atOnce = 2;

let token = "";
let asking = null;
let isRefused = false;

// Fetch with the token, which is asked for when it is needed, and again when the service is busy.
async function asked(path, options = {}) {
  for (let tries = 1; ; tries++) {
    const used = token;
    const response = await fetch(path, { ...options, headers: used ? { Authorization: `Bearer ${used}` } : {} });
    if (response.status === 401) {
      if (token === used) await askToken(); // else another request has asked meanwhile
    } else if (response.status === 503 && tries < MOST_TRIES) await pause(response, options.signal);
    else return response;
  }
}

function pause(response, signal) {
  const seconds = Math.min(Number(response.headers.get("Retry-After")) || 1, MOST_WAIT_S);
  return new Promise((go) => {
    const timer = setTimeout(go, 1000 * seconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); go(); }, { once: true });
  });
}

// One dialog, however many requests want a token; closed without one, nobody asks again until `again` is called.
function askToken() {
  const nothing = new Error("the service needs a token, and none was given");
  if (isRefused) return Promise.reject(nothing);
  asking ??= new Promise((go, stop) => {
    const [dialog, field] = [document.getElementById("token-dialog"), document.getElementById("token")];
    document.getElementById("token-wrong").hidden = !token;
    [field.value, dialog.returnValue] = ["", ""];
    dialog.addEventListener("close", () => {
      asking = null;
      const given = dialog.returnValue === "ok" ? field.value.trim() : "";
      field.value = "";
      isRefused = !given;
      if (given) token = given;
      (given ? go : stop)(nothing);
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

export const again = () => { isRefused = false; };

async function bodyOf(response) {
  const body = await response.json().catch(() => ({}));
  if (body.error) return body;
  if (!response.ok) throw new Error(`the service answered ${response.status} ${response.statusText}`.trim());
  return body;
}

export async function start() {
  const body = await bodyOf(await asked("v1/model"));
  if (body.error) throw new Error(body.error.reason);
  return body;
}

export async function predict(file, model, signal, patient) {
  const form = new FormData();
  form.append("image", file, file.name);
  for (const [name, value] of Object.entries(patient ?? {})) if (value !== null) form.append(name, value);
  const query = `explain=${model.has_activation_maps}&neighbours=${model.reference ? 3 : 0}`;
  const response = await asked(`v1/predict?${query}`, { method: "POST", body: form, signal });
  const body = await bodyOf(response);
  if (response.status === 503) {
    return { error: { code: "busy", reason: `The service is busy: it turned this image away ${MOST_TRIES} times. Try again later.` } };
  }
  if (body.error) return { error: body.error };
  const [result] = body.results;
  await Promise.all((result.neighbours ?? []).map(async (near) => { near.picture = await picture(near.url, signal); }));
  return { result };
}

// A picture that the service has, as it is.
export async function file(url) {
  const response = await asked(url);
  if (!response.ok) throw new Error(`the service answered ${response.status} ${response.statusText}`.trim());
  return await response.blob();
}

// A data: address, which a saved report can hold; a blob: address would end with the page. Null where it does not come.
async function picture(url, signal) {
  try {
    const response = await asked(url.replace(/^\//, ""), { signal });  // below the prefix of a proxy, as all else
    if (!response.ok) return null;
    const blob = await response.blob();
    return await new Promise((done, fail) => {
      const reader = new FileReader();
      reader.onload = () => done(reader.result);
      reader.onerror = fail;
      reader.readAsDataURL(blob);
    });
  } catch {
    return null;
  }
}
